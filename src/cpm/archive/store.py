"""Stores: objects by name, as S3 keeps them.

What a store is, its suite says (`tests/archive/test_stores.py`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cpm.archive.errors import NameTaken, NotFound
from cpm.kernel import clock

# Why something cannot be read that is there.
HIDDEN = "a delete marker hides it"


@dataclass(frozen=True, slots=True)
class Stored:
    """An object, as a list tells of it."""

    name: str
    size: int
    modified_at: datetime
    # By a delete marker, which is somebody else's: what deletes here leaves none.
    is_hidden: bool = False


class Store(Protocol):
    """The objects below one prefix. Thread-safe. Failures of AWS are `cpm.kernel.faults.Fault`."""

    def read(self, name: str) -> bytes:
        """The whole object; raises `NotFound`."""
        ...

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """A part of it, shorter where the object ends; raises `NotFound`."""
        ...

    def read_end(self, name: str, length: int) -> bytes:
        """Its last bytes, all where it has no more; raises `NotFound`."""
        ...

    def write(
        self,
        name: str,
        *parts: bytes,
        only_new: bool = False,
        before_end: Callable[[], None] | None = None,
    ) -> None:
        """Put the object, whole or not at all; with `only_new` raises `NameTaken`.

        It consists of the parts: what is large is not put together first. It is not there before
        `before_end` has returned, nor if that raises; what comes before its end is on its way.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete it, if it is there, so that its space is free; raises `Locked`."""
        ...

    def locked_until(self, name: str) -> datetime | None:
        """When it may be deleted, if that is known to be kept from anybody; raises `NotFound`."""
        ...

    def list(self, prefix: str, *, with_hidden: bool = False) -> Iterator[Stored]:
        """What there is, in the order of names; what is hidden, too, if wanted."""
        ...

    def unhide(self, name: str) -> bool:
        """Have it read again, if it is hidden; says whether it was."""
        ...

    def now(self) -> datetime:
        """The store's own time, which `modified_at` is in."""
        ...


class MemoryStore:
    """Objects in memory: for tests, and to try the format out."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, datetime]] = {}

    def read(self, name: str) -> bytes:
        """As `Store` says."""
        try:
            return self.objects[name][0]
        except KeyError:
            raise NotFound(name) from None

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """As `Store` says."""
        return self.read(name)[offset : offset + length]

    def read_end(self, name: str, length: int) -> bytes:
        """As `Store` says."""
        return self.read(name)[-length:]

    def write(
        self,
        name: str,
        *parts: bytes,
        only_new: bool = False,
        before_end: Callable[[], None] | None = None,
    ) -> None:
        """As `Store` says."""
        if before_end is not None:
            before_end()
        if only_new and name in self.objects:
            raise NameTaken(name)
        self.objects[name] = (b"".join(parts), clock.now())

    def delete(self, name: str) -> None:
        """As `Store` says."""
        self.objects.pop(name, None)

    def locked_until(self, name: str) -> datetime | None:
        """As `Store` says."""
        self.read(name)
        return None

    def list(self, prefix: str, *, with_hidden: bool = False) -> Iterator[Stored]:  # noqa: ARG002
        """As `Store` says; nothing is hidden here."""
        for name, (content, modified_at) in sorted(self.objects.items()):
            if name.startswith(prefix):
                yield Stored(name, len(content), modified_at)

    def unhide(self, name: str) -> bool:  # noqa: ARG002
        """As `Store` says."""
        return False

    def now(self) -> datetime:
        """As `Store` says."""
        return clock.now()
