"""Writing: changes of a volume become packs and pages, and in the end a manifest.

A range of pages is written by one `RangeWriter`, block after block. Whenever a pack has been
stored a checkpoint is told, from which another writer goes on after a crash: at most one pack is
stored that no checkpoint knows, and written again. Ranges are independent; any number of processes
may share one copy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from cpm.archive import blobs, manifests, packs, pages
from cpm.archive.blobs import Blob, Kind, Place
from cpm.archive.errors import Locked
from cpm.archive.manifests import Manifest, PagePlace
from cpm.archive.packs import PackBuilder
from cpm.archive.pages import Places
from cpm.archive.repository import Repository
from cpm.kernel import clock

# The page of a manifest that a copy goes on from, by its number.
Base = Mapping[int, PagePlace]

# Blocks of its own that a writer remembers, to name them again: 16 GiB of them, in some 8 MiB.
_MOST_OWN = 32_768


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything before `block` is stored: pages that are done, and what the open one has so far.

    `pages` are those done since the checkpoint before; one that has become empty is None.
    """

    block: int
    pages: dict[int, PagePlace | None]
    open_page: bytes


class Known(Protocol):
    """Where blocks of the repository are, which a copy may name again. Thread-safe."""

    def find(self, block: int, digest: bytes) -> Place | None:
        """The place of such a block, if it may be named (`archive-format.md`, writing, rule 3).

        `block` says which place of the volume it is for: the likeliest to hold it already.
        """
        ...


class Nothing:
    """Knows no block."""

    def find(self, block: int, digest: bytes) -> Place | None:  # noqa: ARG002
        """None."""
        return None


@dataclass(frozen=True, slots=True)
class Filled:
    """A pack that is ready to be stored. It may name packs before it."""

    name: str
    parts: list[bytes]
    size: int


class Shelf(Protocol):
    """Where a writer's packs go, and what is told once they are there."""

    def put(self, pack: Filled | None, checkpoint: Checkpoint) -> None:
        """Store the pack, if there is one, and tell the checkpoint.

        The pack is not there before the checkpoint of the one before it has been told.
        """
        ...


class AtOnce:
    """Stores each pack before it goes on."""

    def __init__(self, repository: Repository, tell: Callable[[Checkpoint], None]) -> None:
        self._store = repository.store
        self._tell = tell

    def put(self, pack: Filled | None, checkpoint: Checkpoint) -> None:
        """As `Shelf` says."""
        if pack is not None:
            self._store.write(pack.name, *pack.parts)
        self._tell(checkpoint)


@dataclass(frozen=True, slots=True)
class Ready:
    """A block that only needs a place: it is zeros, or known, or a blob to be stored."""

    place: Place | None = None
    blob: Blob | None = None


ZEROS = Ready()


class RangeWriter:
    """Writes one range of pages. What changes it is one thread's; `ready` is anybody's."""

    def __init__(
        self,
        repository: Repository,
        shelf: Shelf,
        *,
        base: Base | None = None,
        known: Known | None = None,
        after: Checkpoint | None = None,
        pack_bytes: int = packs.DEFAULT_PACK_BYTES,
        level: int = blobs.DEFAULT_LEVEL,
    ) -> None:
        """`after` is the checkpoint to go on from."""
        self._repository = repository
        self._shelf = shelf
        self._base = base or {}
        self._known = known or Nothing()
        self._pack_bytes = pack_bytes
        self._level = level
        self._pack = PackBuilder(repository.key)
        self._own: dict[bytes, Place] = {}
        self._done: dict[int, PagePlace | None] = {}
        self._page: int | None = None
        self._places: Places = {}
        self._next = 0
        if after is not None:
            self._go_on(after)

    @property
    def next(self) -> int:
        """Everything before this block has been written."""
        return self._next

    def skip(self, block: int) -> bool:
        """Whether the block was written before the checkpoint that this goes on from."""
        return block < self._next

    def ready(self, block: int, content: bytes, digest: bytes | None = None) -> Ready:
        """A block compressed, unless such a block has a place already: the costly part."""
        if blobs.is_zeros(content):
            return ZEROS
        digest = digest or blobs.digest_of(content)
        place = self._own.get(digest) or self._known.find(block, digest)
        if place is not None:
            return Ready(place)
        blob = blobs.encode(Kind.BLOCK, content, level=self._level, digest=digest)
        return Ready(blob=blob)

    def write(self, block: int, content: bytes | None) -> None:
        """What a block consists of now; None if it is no longer there. In the order of blocks."""
        self.put(block, ZEROS if content is None else self.ready(block, content))

    def put(self, block: int, ready: Ready) -> None:
        """Give a block its place. In the order of blocks."""
        self._open(block)
        place = ready.place or (self._stored(ready.blob) if ready.blob else None)
        if place is None:
            self._places.pop(block, None)
        else:
            self._places[block] = place
        self._next = block + 1
        if self._pack.size >= self._pack_bytes:
            self._flush()

    def finish(self) -> None:
        """Store what is left."""
        self._close_page()
        self._flush()

    def _stored(self, blob: Blob) -> Place:
        """Where the blob is already, or will be."""
        own = self._own.get(blob.digest)
        if own is not None:
            return own
        if len(self._own) >= _MOST_OWN:
            self._own.clear()
        place = self._own[blob.digest] = self._pack.add(blob)
        return place

    def _go_on(self, after: Checkpoint) -> None:
        self._next = after.block
        if after.open_page:
            self._page = pages.page_of(after.block - 1)
            self._places = pages.decode(after.open_page, self._page, f"page {self._page}")

    def _open(self, block: int) -> None:
        page = pages.page_of(block)
        if page == self._page:
            return
        self._close_page()
        before = self._base.get(page)
        self._page = page
        self._places = self._repository.page(before) if before else {}

    def _close_page(self) -> None:
        if self._page is None:
            return
        number, self._page = self._page, None
        if self._places:
            content = pages.encode(self._places)
            place = self._pack.add(blobs.encode(Kind.PAGE, content, level=self._level))
            self._done[number] = PagePlace.of(number, len(self._places), place)
        else:
            self._done[number] = None
        self._places = {}

    def _flush(self) -> None:
        open_page = pages.encode(self._places) if self._page is not None else b""
        checkpoint = Checkpoint(self._next, self._done, open_page)
        self._shelf.put(self._filled(), checkpoint)
        self._pack = PackBuilder(self._repository.key)
        self._done = {}

    def _filled(self) -> Filled | None:
        if self._pack.is_empty:
            return None
        parts = self._pack.finish()
        return Filled(packs.name_of(self._pack.id), parts, self._pack.size)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is archived, in AWS's words, and for what: in the words of whoever archives it."""

    snapshot: dict[str, Any]
    volume: dict[str, Any]
    instance: dict[str, Any] | None = None
    origin: dict[str, Any] | None = None


def publish(
    repository: Repository,
    subject: Subject,
    began_at: datetime,
    changed: Mapping[int, PagePlace | None],
    based_on: Manifest | None = None,
) -> Manifest:
    """Put the manifest of a copy whose pages are all stored; raises `NameTaken`."""
    found = {each.page: each for each in based_on.pages} if based_on else {}
    for number, place in changed.items():
        if place is None:
            found.pop(number, None)
        else:
            found[number] = place
    ordered = [found[number] for number in sorted(found)]
    manifest = Manifest(
        repository=repository.id,
        name=manifests.new_name(subject.snapshot["id"], began_at),
        created_at=manifests.timestamp(clock.now()),
        based_on=based_on.name if based_on else None,
        snapshot=subject.snapshot,
        volume=subject.volume,
        instance=subject.instance,
        origin=subject.origin,
        blocks=sum(each.blocks for each in ordered),
        pages=ordered,
    )
    stored = manifests.encode(manifest, repository.key)
    repository.store.write(manifests.PREFIX + manifest.name, stored, only_new=True)
    return manifest


def retire(repository: Repository, name: str) -> None:
    """Delete an archived snapshot; its packs go when nothing needs them.

    Raises `Locked` while it may not be deleted, and `NotFound`.
    """
    store = repository.store
    # Else it would come back when somebody takes the marker away.
    store.unhide(manifests.PREFIX + name)
    until = store.locked_until(manifests.PREFIX + name)
    # Known beforehand, or each attempt would put one more object that is locked as long.
    if until is not None and until > store.now():
        raise Locked(name)
    content = store.read(manifests.PREFIX + name)
    store.write(manifests.RETIRED + name, content)
    store.delete(manifests.PREFIX + name)
