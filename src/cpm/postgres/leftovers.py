"""What a killed supervisor or server leaves behind: found in /proc, and got rid of.

A pid file can be out of date and its pid somebody else's by now. A process that sits in the data
directory and is called postgres is the server or one of its children.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

from cpm.kernel import clock
from cpm.postgres.log import Log

_CHILDREN_PATIENCE_SECONDS = 2.0
_ASK_AGAIN_SECONDS = 1.0


def clear(data: Path, log: Log) -> None:
    """Make way for a new server in `data`. Only for the holder of the cluster's lock.

    A server that still runs is stopped; children that outlived theirs are killed, since crash
    recovery does without them; a pid file goes, whoever has its pid now.
    """
    server_pid = _recorded_server(data)
    if server_pid in _processes_in(data):
        _await_end(server_pid, data, log)
    if not clock.wait_until(
        lambda: not _processes_in(data), timeout_seconds=_CHILDREN_PATIENCE_SECONDS
    ):
        log.write("killing processes that outlived their server")
        _kill_all(data)
    if server_pid is not None:
        (data / "postmaster.pid").unlink(missing_ok=True)


def _await_end(server_pid: int, data: Path, log: Log) -> None:
    """Ask for a fast shutdown until it is over; its supervisor's death has asked already."""
    log.write(f"stopping the server {server_pid}, whose supervisor is gone")
    while server_pid in _processes_in(data):
        _signal(server_pid, signal.SIGINT)
        clock.wait_until(
            lambda: server_pid not in _processes_in(data), timeout_seconds=_ASK_AGAIN_SECONDS
        )


def _kill_all(data: Path) -> None:
    while survivors := _processes_in(data):
        for pid in survivors:
            _signal(pid, signal.SIGKILL)
        clock.sleep(0.05)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _recorded_server(data: Path) -> int | None:
    try:
        first_line = (data / "postmaster.pid").read_text().splitlines()[0]
        return abs(int(first_line))
    except (OSError, IndexError, ValueError):
        return None


def _processes_in(data: Path) -> list[int]:
    resolved = str(data.resolve())
    entries = Path("/proc").glob("[0-9]*")
    return [int(entry.name) for entry in entries if _is_postgres_in(entry, resolved)]


def _is_postgres_in(entry: Path, directory: str) -> bool:
    try:
        if (entry / "comm").read_text().strip() != "postgres":
            return False
        return str((entry / "cwd").readlink()) == directory
    except OSError:
        return False  # it ended while we looked, or is none of ours
