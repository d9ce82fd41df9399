"""Every write of the product, a file per noun; each takes the `actor` and leaves an audit row."""
