"""What the tests ask the system about processes and running servers."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from cpm.kernel import clock
from cpm.postgres import home, lock, state
from cpm.postgres.state import Phase

PATIENCE_SECONDS = 60.0


def server_pid(directory: Path) -> int:
    """The pid of the postgres that runs in `directory`."""
    return int((home.find(directory).data / "postmaster.pid").read_text().splitlines()[0])


def kill_server(directory: Path) -> int:
    """Kill postgres as the kernel would when memory runs out; returns the pid it had."""
    pid = server_pid(directory)
    os.kill(pid, signal.SIGKILL)
    return pid


@contextmanager
def supervisor_of(directory: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m cpm.postgres`, stopped at the end of the block if it has not ended by then."""
    command = [sys.executable, "-P", "-m", "cpm.postgres", str(directory), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def await_lock(directory: Path) -> None:
    """Wait until some process runs the cluster."""
    path = home.find(directory).lock
    assert clock.wait_until(lambda: lock.is_held(path), timeout_seconds=PATIENCE_SECONDS)


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def children_of(pid: int) -> list[int]:
    """The pids of its direct children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def await_end(*pids: int) -> None:
    """Wait until none of them runs."""
    assert clock.wait_until(
        lambda: not any(map(is_running, pids)), timeout_seconds=PATIENCE_SECONDS
    ), f"still running: {[pid for pid in pids if is_running(pid)]}"


def await_another_server(directory: Path, than: int) -> None:
    """Wait until the supervisor says that a server with another pid answers."""
    path = home.find(directory).state

    def is_there() -> bool:
        current = state.read(path)
        return current is not None and current.phase is Phase.READY and current.server_pid != than

    assert clock.wait_until(is_there, timeout_seconds=PATIENCE_SECONDS)


def query(uri: str, statement: str) -> list[tuple[Any, ...]]:
    """The rows of a statement, committed, on a connection of its own."""
    with psycopg.connect(uri, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []
