"""The directory of the server's socket: private, and with a path short enough for a socket."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from cpm.postgres.errors import DirectoryUnusable
from cpm.postgres.files import make_directory
from cpm.postgres.os_user import OsUser
from cpm.postgres.settings import PORT

_LONGEST_PATH_BYTES = 100  # Linux takes 107, others less


def directory_for(home: Path) -> Path:
    """`run` in the home, or where that path is too long, a directory among the runtime files.

    What the answer is depends on who asks, and where: what a running server uses is in its state.
    """
    inside = home / "run"
    if _fits(inside):
        return inside
    name = "cpm-postgres-" + hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    candidates = (parent / name for parent in _runtime_directories())
    return next(filter(_fits, candidates), Path("/tmp", name))  # noqa: S108 - private and checked


def prepare(directory: Path, user: OsUser) -> None:
    """Make the directory, and clear it of what a killed server left.

    Only for the holder of the cluster's lock. Raises DirectoryUnusable when it is not ours.
    """
    make_directory(directory, 0o700)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {os.geteuid(), user.uid}:
        raise DirectoryUnusable(
            f"{directory} should be the private directory of the database's socket, and belongs"
            " to another user. Delete it, or choose a data directory with a shorter path."
        )
    directory.chmod(0o700)
    user.give(directory)
    for leftover in directory.glob(".s.PGSQL.*"):
        leftover.unlink()


def _runtime_directories() -> list[Path]:
    """Places for runtime files that this user may write, the best one first."""
    private = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR")
    wanted = [Path(private)] if private else []
    wanted.append(Path(tempfile.gettempdir()))
    return [path for path in wanted if os.access(path, os.W_OK | os.X_OK)]


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory / f".s.PGSQL.{PORT}")) <= _LONGEST_PATH_BYTES
