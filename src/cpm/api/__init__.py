"""The REST API: a view is parse, one service or query, print."""
