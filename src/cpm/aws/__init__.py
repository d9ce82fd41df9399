"""How the product reaches AWS: credentials, clients, budgets, errors, tags. No Django."""
