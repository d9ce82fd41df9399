"""The archive in S3: its format, what writes it, and what reads it, without server or database.

The format is `docs/design/archive-format.md`; what is decided there is not repeated here.
"""
