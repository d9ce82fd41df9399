"""Which processes of a cluster are alive, supervised or not, from /proc.

A pid file can be out of date and its pid somebody else's; a process that sits in the data
directory and is called postgres is the server or one of its children.
"""

from pathlib import Path


def in_directory(data: Path) -> list[int]:
    """The pids of the postgres processes that work in `data`."""
    resolved = str(data.resolve())
    return [
        int(entry.name)
        for entry in Path("/proc").glob("[0-9]*")
        if _is_postgres_in(entry, resolved)
    ]


def recorded_server(data: Path) -> int | None:
    """The pid in postmaster.pid, of a server that is alive, dead, or long since another program."""
    try:
        first_line = (data / "postmaster.pid").read_text().splitlines()[0]
        return abs(int(first_line))
    except (OSError, IndexError, ValueError):
        return None


def _is_postgres_in(entry: Path, directory: str) -> bool:
    try:
        if (entry / "comm").read_text().strip() != "postgres":
            return False
        return str((entry / "cwd").readlink()) == directory
    except OSError:
        return False  # it ended while we looked, or is none of ours
