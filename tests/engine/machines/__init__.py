"""Worker machines."""
