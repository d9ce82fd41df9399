"""What can go wrong with the embedded PostgreSQL, in words for whoever is on call.

Each message says what happened, where to look, and what to do.
"""

from pathlib import Path


class PostgresError(Exception):
    """The embedded PostgreSQL cannot do what was asked; the text says why and what helps."""


class AlreadyRunning(PostgresError):
    """Another process runs the cluster of this directory."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"the database in {directory} is already run by {who}."
            " Stop that one first, or choose another data directory."
        )
        self.directory = directory
        self.pid = pid


class NotRunning(PostgresError):
    """Nobody runs the cluster of this directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"no server runs the database in {directory}."
            " Start it with `cpm serve`, or set DATABASE_URL to a PostgreSQL of your own."
        )
        self.directory = directory


class StartFailed(PostgresError):
    """PostgreSQL did not come up, or one of its programs failed."""


class DirectoryUnusable(PostgresError):
    """The directory cannot hold a cluster, or what it holds is not one that we can run."""


class DumpFailed(PostgresError):
    """There is no new dump; the older ones are untouched."""
