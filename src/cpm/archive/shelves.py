"""Records on disk, sorted by their first byte: more of them than memory may hold."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self


class Shelves:
    """Records of one length, put in any order while it is open, and taken out shelf by shelf."""

    def __init__(self, directory: Path, length: int) -> None:
        self._directory = directory
        self._length = length
        self._files: dict[int, BinaryIO] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._directory.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def put(self, record: bytes) -> None:
        """Keep a record."""
        shelf = record[0]
        if shelf not in self._files:
            self._files[shelf] = self._open.enter_context(self._path(shelf).open("wb"))
        self._files[shelf].write(record)

    def take(self, shelf: int) -> set[bytes]:
        """The records that begin with this byte, each once."""
        content = self._path(shelf).read_bytes() if shelf in self._files else b""
        return {content[at : at + self._length] for at in range(0, len(content), self._length)}

    def _path(self, shelf: int) -> Path:
        return self._directory / f"{shelf:02x}"
