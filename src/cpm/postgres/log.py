"""The cluster's log: one file with a stable name, bounded, and readable at three in the morning."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from cpm.kernel import clock

ROTATE_AT_BYTES = 10 * 2**20
KEEP_ROTATED = 5
_TAIL_BYTES = 64 * 2**10

_DAMAGED = "The data in {home} is damaged: move it away, start anew, restore the newest dump."
_ADVICE = {
    "No space left on device": "The disk of {home} is full: free some space, then start again.",
    "Disk quota exceeded": "The disk quota for {home} is used up: free some space.",
    "Read-only file system": "The file system of {home} is read-only: see `dmesg`, remount it.",
    "Cannot allocate memory": "Memory is short: add some, or lower shared_buffers in"
    " {home}/override.conf.",
    "pre-existing shared memory block": "Processes of an earlier server still run: look for"
    " `postgres` in `ps`, and stop them.",
    "could not look up effective user ID": "This user has no entry in /etc/passwd: add one.",
    "unrecognized configuration parameter": "A setting in {home}/override.conf does not exist.",
    "invalid value for parameter": "A setting in {home}/override.conf has an impossible value.",
    "error while loading shared libraries": "A system library is missing: install it, or name"
    " the programs of another PostgreSQL in PG_BIN.",
    "could not locate a valid checkpoint record": _DAMAGED,
    "incorrect checksum in control file": _DAMAGED,
    "database files are incompatible with server": _DAMAGED,
    "invalid page in block": _DAMAGED,
}


class Log:
    """The log file at `path`; several processes append to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> int:
        """A descriptor for the standard error of a program; the caller closes it."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self.path, flags, 0o600)

    def write(self, message: str) -> None:
        """Append a line of ours, in the server's format. A full disk must not stop us."""
        line = f"{clock.now():%Y-%m-%d %H:%M:%S} UTC [{os.getpid()}] CPM:  {message}\n"
        with suppress(OSError):
            descriptor = self.open()
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)

    def size_bytes(self) -> int:
        """How long the log is; growth is a sign of life."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def since(self, offset_bytes: int) -> str:
        """What was written after `offset_bytes`, or its end; all there is after a rotation."""
        size_bytes = self.size_bytes()
        begin = offset_bytes if offset_bytes <= size_bytes else 0
        try:
            with self.path.open("rb") as file:
                file.seek(max(begin, size_bytes - _TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def explain(self, offset_bytes: int, *, lines: int = 15) -> str:
        """The last lines after `offset_bytes`, where they are, and what helps, if we know."""
        text = self.since(offset_bytes)
        home = self.path.parent.parent
        hints = [hint.format(home=home) for sign, hint in _ADVICE.items() if sign in text]
        tail = "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
        return "\n".join([*hints[:1], f"The log is {self.path}; it ends:", tail or "    (empty)"])

    def rotate(self) -> None:
        """Move a log that has grown too long aside, so that all of them stay bounded.

        Copy and truncate, because postgres keeps its descriptor: that appends at the new end.
        """
        if self.size_bytes() < ROTATE_AT_BYTES:
            return
        try:
            for number in range(KEEP_ROTATED - 1, 0, -1):
                if self._rotated(number).exists():
                    self._rotated(number).replace(self._rotated(number + 1))
            shutil.copyfile(self.path, self._rotated(1))
        finally:
            os.truncate(self.path, 0)

    def _rotated(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
