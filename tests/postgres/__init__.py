"""The embedded PostgreSQL: real clusters, real crashes."""
