"""Resource types, one module each: what a type is, and everything AWS can do with it."""
