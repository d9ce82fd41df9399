"""Files and directories with the permissions they are meant to have, whatever the umask says."""

import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Put `text` into `path` at once, for this user's eyes only, and on the disk for good."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.replace(path)


def make_directory(path: Path, mode: int) -> bool:
    """Make a directory with exactly that mode; False, and nothing changed, when it is there."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if path.is_dir():
            return False
        raise
    path.chmod(mode)
    return True
