"""Writing small files so that they are never there by half, nor ever readable by others."""

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
