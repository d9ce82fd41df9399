"""Collecting garbage: packs that no manifest needs any more, in bounded memory and without a lock.

What may be deleted, and why that is safe beside running copies: `archive-format.md`, deleting.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from cpm.archive import manifests, packs
from cpm.archive.blobs import Place
from cpm.archive.errors import Locked
from cpm.archive.manifests import PagePlace
from cpm.archive.repository import Repository
from cpm.archive.store import Stored

MOST_COPY = timedelta(days=7)
GRACE = timedelta(days=8)


@dataclass
class Collected:
    """What a collection did."""

    kept_packs: int = 0
    deleted_packs: int = 0
    deleted_bytes: int = 0
    locked_packs: int = 0


def collect(repository: Repository, scratch: Path) -> Collected:
    """Delete what nothing needs; marks take 16 bytes a pack and page below `scratch`.

    Raises `Damaged` when a manifest or a page cannot be read: then nothing is deleted, since nobody
    knows what it needs.
    """
    now = repository.store.now()
    collected = Collected()
    with TemporaryDirectory(dir=scratch) as directory:
        marks = Path(directory)
        _mark(repository, marks, now)
        _sweep(repository, marks, now, collected)
    _forget_retired(repository, now)
    return collected


def _mark(repository: Repository, marks: Path, now: datetime) -> None:
    """Write down every pack that is needed, on the shelf that its id begins with."""
    seen: set[Place] = set()
    with ExitStack() as stack:
        shelves: dict[str, BinaryIO] = {}
        for found in _needed_pages(repository, now):
            place = found.place
            if place in seen:
                continue
            seen.add(place)
            for pack in {each.pack for each in repository.page(found).values()} | {place.pack}:
                shelf = pack[:1].hex()
                if shelf not in shelves:
                    shelves[shelf] = stack.enter_context((marks / shelf).open("wb"))
                shelves[shelf].write(pack)


def _needed_pages(repository: Repository, now: datetime) -> Iterator[PagePlace]:
    for name in list(repository.names()):
        yield from repository.manifest(name).pages
    for stored in repository.store.list(manifests.RETIRED):
        if now - stored.modified_at < GRACE:
            name = stored.name.removeprefix(manifests.RETIRED)
            yield from repository.manifest(name, prefix=manifests.RETIRED).pages


def _sweep(repository: Repository, marks: Path, now: datetime, collected: Collected) -> None:
    shelf, needed = b"", set[bytes]()
    for stored in repository.store.list(packs.PREFIX):
        pack = packs.id_of(stored.name)
        if pack is None:
            continue
        if pack[:1] != shelf:
            # Names come in their order: one shelf after the other.
            shelf = pack[:1]
            needed = _needed(marks / shelf.hex())
        if pack in needed or now - stored.modified_at < GRACE:
            collected.kept_packs += 1
        else:
            _delete(repository, stored, collected)


def _needed(marks: Path) -> set[bytes]:
    content = marks.read_bytes() if marks.exists() else b""
    return {content[at : at + packs.ID_BYTES] for at in range(0, len(content), packs.ID_BYTES)}


def _delete(repository: Repository, stored: Stored, collected: Collected) -> None:
    try:
        repository.store.delete(stored.name)
    except Locked:
        collected.locked_packs += 1
    else:
        collected.deleted_packs += 1
        collected.deleted_bytes += stored.size


def _forget_retired(repository: Repository, now: datetime) -> None:
    for stored in list(repository.store.list(manifests.RETIRED)):
        if now - stored.modified_at >= GRACE:
            try:
                repository.store.delete(stored.name)
            except Locked:
                continue
