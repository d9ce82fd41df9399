"""Collecting garbage: packs that no manifest needs any more, in bounded memory and without a lock.

What may be deleted, and why that is safe beside running copies: `archive-format.md`, deleting.
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from cpm.archive import manifests, packs
from cpm.archive.blobs import Encoding, Place
from cpm.archive.errors import Damaged, Locked, NotFound
from cpm.archive.manifests import Manifest, PagePlace
from cpm.archive.packs import ID_BYTES
from cpm.archive.pages import Places
from cpm.archive.repository import PROBES, Repository
from cpm.archive.shelves import Shelves
from cpm.archive.store import HIDDEN, Store, Stored
from cpm.kernel.faults import Fault, FaultKind

MOST_COPY = timedelta(days=7)
GRACE = timedelta(days=8)
# How long somebody may take to try out whether a bucket will do.
_PROBE_GRACE = timedelta(days=1)
# A page as it is remembered: what `PagePlace` says, the pack first.
_PAGE = struct.Struct(">16sIIBI32sII")
_SHELVES = range(256)


class Lost(NamedTuple):
    """What cannot be read: an object, or (beyond 0) what is at an offset in it."""

    name: str
    offset: int
    why: str


Tell = Callable[[Lost], None]


@dataclass
class Collected:
    """What a collection found and did; `stored_bytes` is what is there after it."""

    manifests: int = 0
    kept_packs: int = 0
    deleted_packs: int = 0
    deleted_bytes: int = 0
    locked_packs: int = 0
    stored_bytes: int = 0
    # What others had put delete markers over, and is needed.
    brought_back: int = 0
    # Needed, and not there.
    missing_packs: list[bytes] = field(default_factory=list)


def collect(repository: Repository, scratch: Path, *, lose: Tell = lambda _lost: None) -> Collected:
    """Delete what nothing needs; marks take some bytes for each pack and page below `scratch`.

    Where manifests or pages cannot be read nobody knows what they need: then nothing is deleted,
    `lose` is told of each, and the last is raised as `Damaged`.
    """
    now = repository.store.now()
    collected = Collected()
    with TemporaryDirectory(dir=scratch) as directory:
        needed = _Marking(repository, Path(directory), now, lose, collected).run()
        _sweep(repository, needed, now, collected)
    _forget(repository, manifests.RETIRED, now - GRACE)
    _forget(repository, PROBES, now - _PROBE_GRACE)
    return collected


@dataclass
class _Marking:
    """Writing down every pack that is needed."""

    repository: Repository
    scratch: Path
    now: datetime
    tell: Tell
    collected: Collected
    damage: Damaged | None = None

    def run(self) -> Shelves:
        with Shelves(self.scratch / "pages", _PAGE.size) as pages:
            for manifest in self._manifests():
                for found in manifest.pages:
                    pages.put(_packed(found))
        with Shelves(self.scratch / "packs", ID_BYTES) as needed:
            for shelf in _SHELVES:
                # Copies share pages; neighbours in a pack come one after the other.
                for page in sorted(pages.take(shelf)):
                    self._mark(_unpacked(page), needed)
        if self.damage is not None:
            raise self.damage
        return needed

    def _manifests(self) -> Iterator[Manifest]:
        store = self.repository.store
        current = list(store.list(manifests.PREFIX, with_hidden=True))
        retired = store.list(manifests.RETIRED, with_hidden=True)
        young = [each for each in retired if self.now - each.modified_at < GRACE]
        for stored in (*current, *young):
            if stored.is_hidden and not _bring_back(store, stored.name, self.collected):
                self._lose(stored.name, 0, Damaged(stored.name, HIDDEN))
        self.collected.manifests = len(current)
        self.collected.stored_bytes = sum(each.size for each in [*current, *young])
        for stored in current:
            yield from self._read(stored.name, manifests.PREFIX)
        for stored in young:
            yield from self._read(stored.name, manifests.RETIRED)

    def _read(self, name: str, prefix: str) -> Iterator[Manifest]:
        try:
            yield self.repository.manifest(name.removeprefix(prefix), prefix=prefix)
        except Damaged as damage:
            self._lose(name, 0, damage)
        except NotFound:
            if prefix == manifests.PREFIX:
                # It was retired after it was listed, and is needed for as long as that lasts.
                yield from self._read(name.replace(prefix, manifests.RETIRED, 1), manifests.RETIRED)

    def _mark(self, page: PagePlace, needed: Shelves) -> None:
        place = page.place
        try:
            places = self._places(page)
        except Damaged as damage:
            self._lose(packs.name_of(place.pack), place.offset, damage)
            return
        for pack in {each.pack for each in places.values()} | {place.pack}:
            needed.put(pack)

    def _places(self, page: PagePlace) -> Places:
        try:
            return self.repository.page(page)
        except Damaged:
            name = packs.name_of(page.place.pack)
            if not _bring_back(self.repository.store, name, self.collected):
                raise
            return self.repository.page(page)

    def _lose(self, name: str, offset: int, damage: Damaged) -> None:
        self.tell(Lost(name, offset, damage.why))
        self.damage = Damaged(f"{name} at {offset}" if offset else name, damage.why)


def _bring_back(store: Store, name: str, collected: Collected) -> bool:
    """Take away what hides an object; says whether that is allowed."""
    try:
        collected.brought_back += store.unhide(name)
    except Fault as fault:
        if fault.kind is not FaultKind.DENIED:
            raise
        return False
    return True


def _packed(page: PagePlace) -> bytes:
    place = page.place
    return _PAGE.pack(
        *(place.pack, place.offset, place.length, place.encoding, place.raw_length, place.digest),
        *(page.page, page.blocks),
    )


def _unpacked(record: bytes) -> PagePlace:
    pack, offset, length, encoding, raw_length, digest, page, blocks = _PAGE.unpack(record)
    place = Place(pack, offset, length, Encoding(encoding), raw_length, digest)
    return PagePlace.of(page, blocks, place)


def _sweep(repository: Repository, marks: Shelves, now: datetime, collected: Collected) -> None:
    """Go through needed and listed packs side by side: both come in the order of their names."""
    listed = repository.store.list(packs.PREFIX, with_hidden=True)
    stored = next(listed, None)
    for shelf in _SHELVES:
        needed = marks.take(shelf)
        while stored is not None:
            pack = packs.id_of(stored.name)
            if pack is not None and pack[0] != shelf:
                break
            if pack is not None:
                is_needed = pack in needed
                needs_help = is_needed and stored.is_hidden
                if not needs_help or _bring_back(repository.store, stored.name, collected):
                    needed.discard(pack)
                _keep_or_delete(repository, stored, is_needed, now, collected)
            stored = next(listed, None)
        collected.missing_packs.extend(sorted(needed))


def _keep_or_delete(
    repository: Repository, stored: Stored, is_needed: bool, now: datetime, collected: Collected
) -> None:
    if not is_needed and now - stored.modified_at >= GRACE:
        try:
            repository.store.delete(stored.name)
        except Locked:
            collected.locked_packs += 1
        else:
            collected.deleted_packs += 1
            collected.deleted_bytes += stored.size
            return
    else:
        collected.kept_packs += 1
    collected.stored_bytes += stored.size


def _forget(repository: Repository, prefix: str, latest: datetime) -> None:
    """Delete what has served its time."""
    for stored in list(repository.store.list(prefix, with_hidden=True)):
        if stored.modified_at <= latest:
            with suppress(Locked):
                repository.store.delete(stored.name)
