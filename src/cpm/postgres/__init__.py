"""The embedded PostgreSQL: the product brings its own database server and looks after it.

`EmbeddedPostgres` runs a server for as long as a block lasts, `connect_uri` finds the one that
another process runs, and `discard` deletes one.
Knows files and processes; nothing of Django or of the product.
"""

from cpm.postgres.errors import AlreadyRunning, NotRunning, PostgresError, StartFailed
from cpm.postgres.home import discard
from cpm.postgres.process import EmbeddedPostgres, connect_uri

__all__ = [
    "AlreadyRunning",
    "EmbeddedPostgres",
    "NotRunning",
    "PostgresError",
    "StartFailed",
    "connect_uri",
    "discard",
]
