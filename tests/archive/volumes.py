"""Volumes as tests see them: blocks by their number, and what has become of them."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cpm.archive import blobs, packs, pages, reader, writer
from cpm.archive.blobs import BLOCK_BYTES, Kind
from cpm.archive.errors import Damaged, Locked
from cpm.archive.manifests import Manifest, PagePlace
from cpm.archive.packs import PackBuilder
from cpm.archive.repository import Repository
from cpm.archive.store import MemoryStore, Stored
from cpm.archive.writer import AtOnce, Checkpoint, Known, RangeWriter, Subject

# None is a block that is not there, in changes as in AWS's answers.
Blocks = Mapping[int, bytes | None]


class Bucket(MemoryStore):
    """A store with a clock of its own, that may lock what comes for a time.

    `meanwhile` is called before each step of whoever uses it.
    """

    def __init__(self, locks_for: timedelta = timedelta()) -> None:
        super().__init__()
        self.time = datetime.fromisoformat("2026-11-29T06:45:00+00:00")
        self.locks_for = locks_for
        self.meanwhile: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        self.meanwhile()
        return self.time

    def read(self, name: str) -> bytes:
        self.meanwhile()
        return super().read(name)

    def list(self, prefix: str, *, with_hidden: bool = False) -> Iterator[Stored]:
        self.meanwhile()
        return super().list(prefix, with_hidden=with_hidden)

    def write(
        self,
        name: str,
        *parts: bytes,
        only_new: bool = False,
        before_end: Callable[[], None] | None = None,
    ) -> None:
        super().write(name, *parts, only_new=only_new, before_end=before_end)
        self.objects[name] = (self.objects[name][0], self.time)

    def delete(self, name: str) -> None:
        self.meanwhile()
        if name in self.objects and self.time < self.objects[name][1] + self.locks_for:
            raise Locked(name)
        super().delete(name)

    def locked_until(self, name: str) -> datetime | None:
        super().locked_until(name)
        return self.objects[name][1] + self.locks_for if self.locks_for else None


@lru_cache(64)
def noise(seed: int) -> bytes:
    """A block that does not compress, the same for the same seed."""
    return hashlib.shake_128(str(seed).encode()).digest(BLOCK_BYTES)


@lru_cache(64)
def text(seed: int) -> bytes:
    """A block that compresses well."""
    return (
        (f"line {seed} of a log that says the same again and again\n" * 12_000)
        .encode()[:BLOCK_BYTES]
        .ljust(BLOCK_BYTES, b".")
    )


def came_back(archive: Repository, manifest: Manifest) -> dict[int, bytes]:
    """Every block that a copy gives back, with nothing lost."""
    lost: list[Damaged] = []
    found = dict(reader.blocks(archive, manifest, lose=lost.append))
    assert lost == []
    return found


def subject(snapshot: str = "snap-1", size_gib: int = 1) -> Subject:
    """What AWS says of a snapshot, as far as the format needs it."""
    return Subject(snapshot={"id": snapshot}, volume={"id": "vol-1", "size_gib": size_gib})


@dataclass
class Copier:
    """Copies changes into a repository as the server does, one second after the other."""

    repository: Repository
    pack_bytes: int = 4 * BLOCK_BYTES
    known: Known | None = None
    now: datetime = field(default_factory=lambda: datetime(2026, 11, 29, 6, 45, tzinfo=UTC))
    checkpoints: list[Checkpoint] = field(default_factory=list)

    def copy(
        self, changes: Blocks, about: Subject | None = None, based_on: Manifest | None = None
    ) -> Manifest:
        """Copy what has changed since the manifest, or everything."""
        changed = self.write(changes, based_on)
        return self.publish(changed, about or subject(), based_on)

    def write(
        self, changes: Blocks, based_on: Manifest | None = None
    ) -> dict[int, PagePlace | None]:
        """Write the packs of a copy; the pages that became of it."""
        self.checkpoints = []
        into = self.writer(based_on)
        for block in sorted(changes):
            into.write(block, changes[block])
        into.finish()
        return self.pages()

    def writer(
        self, based_on: Manifest | None = None, after: Checkpoint | None = None
    ) -> RangeWriter:
        """A writer of the whole volume."""
        return RangeWriter(
            self.repository,
            AtOnce(self.repository, self.checkpoints.append),
            base={each.page: each for each in based_on.pages} if based_on else None,
            known=self.known,
            after=after,
            pack_bytes=self.pack_bytes,
        )

    def pages(self) -> dict[int, PagePlace | None]:
        """What the checkpoints say of pages, all together."""
        return {page: place for each in self.checkpoints for page, place in each.pages.items()}

    def publish(
        self,
        changed: Mapping[int, PagePlace | None],
        about: Subject,
        based_on: Manifest | None = None,
    ) -> Manifest:
        """Put the manifest."""
        self.now += timedelta(seconds=1)
        return writer.publish(self.repository, about, self.now, changed, based_on)


def misname(archive: Repository, manifest: Manifest, block: int, **wrong: object) -> Manifest:
    """Publish a copy of the copy whose first page says something wrong of the place of a block."""
    found = manifest.pages[0]
    places = archive.page(found)
    places[block] = replace(places[block], **wrong)  # type: ignore[arg-type]
    pack = PackBuilder(archive.key)
    place = pack.add(blobs.encode(Kind.PAGE, pages.encode(places)))
    archive.store.write(packs.name_of(pack.id), *pack.finish())
    changed = {found.page: PagePlace.of(found.page, len(places), place)}
    about = Subject(snapshot={"id": "snap-misnamed"}, volume=manifest.volume)
    return Copier(archive).publish(changed, about, manifest)
