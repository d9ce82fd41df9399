"""The data directory: what lies where, and who may run on it."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cpm.config.environment import OWN_CERTIFICATE


class DataDirectoryBusy(Exception):
    """Another server runs on this data directory."""


@dataclass(frozen=True)
class DataDirectory:
    """Paths of one installation."""

    path: Path

    @property
    def postgres(self) -> Path:
        """The embedded PostgreSQL."""
        return self.path / "postgres"

    @property
    def logs(self) -> Path:
        """Log files, one for each child process, rotated."""
        return self.path / "logs"

    @property
    def certificate(self) -> Path:
        """The self-signed certificate, which is also the CA file that clients trust."""
        return self.path / OWN_CERTIFICATE

    @property
    def private_key(self) -> Path:
        """The certificate's key."""
        return self.path / "tls" / "key.pem"

    @property
    def root_password(self) -> Path:
        """Root's first password, where the first start had to make one up."""
        return self.path / "root-password"

    @property
    def aws_endpoint(self) -> Path:
        """Where the AWS is that the running server works on, if it is an emulated one."""
        return self.path / "aws-endpoint"

    @property
    def dumps(self) -> Path:
        """Dumps of the embedded database, one a day."""
        return self.path / "dumps"

    def prepare(self) -> None:
        """Makes the directory. Others may pass through it, no more: PostgreSQL runs as another
        user when root starts the server, and everything else in here is for its owner alone.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o711)
        self.logs.mkdir(exist_ok=True, mode=0o700)


class Ownership:
    """The right to run a server on a data directory; the kernel takes it back when we die."""

    def __init__(self, directory: DataDirectory) -> None:
        self._path = directory.path / "server.lock"
        self._file = self._path.open("a+")

    def __enter__(self) -> Self:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirectoryBusy(self._message()) from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def _message(self) -> str:
        self._file.seek(0)
        owner = self._file.read().strip() or "unknown"
        self._file.close()
        return (
            f"Another server (process {owner}) runs on {self._path.parent}. "
            "Stop it first, or give this one a data directory of its own with --data."
        )
