"""The web console: pages for people, over the same services and queries as the API."""
