"""The `cpm` command: one module a noun, calling services and queries in process."""
