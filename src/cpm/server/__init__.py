"""The product as running processes: the data directory, TLS, children and their supervision."""
