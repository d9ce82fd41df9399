"""How the product is put together: settings, checks, addresses, logging."""
