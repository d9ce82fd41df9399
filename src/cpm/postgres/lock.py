"""Who runs a cluster: an flock on a file that also holds the owner's pid.

The kernel drops the lock when its holder dies, however it dies, so there is nothing to guess
from a pid.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cpm.kernel import clock

_PATIENCE_SECONDS = 0.5  # `holder` holds the lock for a moment while it looks


class Held(Exception):
    """Another process has the lock; `pid` names it, when it could be read."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"locked by process {pid}")
        self.pid = pid


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Have the lock for the length of a block; raises `Held` when another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not clock.wait_until(
            lambda: _try_lock(descriptor, fcntl.LOCK_EX), timeout_seconds=_PATIENCE_SECONDS
        ):
            raise Held(_read_pid(descriptor))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether some process has the lock now."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def last_holder(path: Path) -> int | None:
    """The pid of the process that has the lock, or had it last."""
    try:
        return _parse_pid(path.read_bytes())
    except OSError:
        return None


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_pid(descriptor: int) -> int | None:
    return _parse_pid(os.pread(descriptor, 32, 0))


def _parse_pid(content: bytes) -> int | None:
    return int(content) if content.strip().isdigit() else None
