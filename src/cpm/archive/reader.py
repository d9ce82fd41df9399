"""Reading: the blocks of an archived snapshot, all of them verified."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from cpm.archive.blobs import BLOCK_BYTES, Place, blocks_of
from cpm.archive.errors import ArchiveError, Damaged
from cpm.archive.manifests import Manifest, PagePlace
from cpm.archive.repository import Repository

# Each takes a run of blocks at once, some 8 MiB.
DEFAULT_THREADS = 4
# Blocks of one piece of work; a page would be 2 GiB.
_STRIDE = 64

Piece = list[tuple[int, Place]]


def newest(repository: Repository, snapshot: str) -> str:
    """The name of the newest copy of a snapshot, or of the copy that is named; `ArchiveError`."""
    names = [each for each in repository.names(snapshot) if _is_of(each, snapshot)]
    if not names:
        raise ArchiveError(f"There is no copy of {snapshot} in this repository.")
    return max(names)


def blocks(
    repository: Repository, manifest: Manifest, *, lose: Callable[[Damaged], None]
) -> Iterator[tuple[int, bytes]]:
    """The blocks that are not zeros, in order; what is damaged is told to `lose` and left out."""
    for found in manifest.pages:
        for piece in _pieces(repository, manifest, found, lose):
            yield from _kept(repository, piece, lose)


def restore(
    repository: Repository,
    manifest: Manifest,
    path: Path,
    *,
    threads: int = DEFAULT_THREADS,
    progress: Callable[[int], None] = lambda _blocks: None,
) -> list[Damaged]:
    """Write a raw image, sparse where the volume is zeros; answers what was damaged and left out.

    `progress` is told of numbers of blocks that are done. Raises `FileExistsError`.
    """
    damages: list[Damaged] = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.truncate(descriptor, blocks_of(manifest.volume["size_gib"]) * BLOCK_BYTES)

        def write(piece: Piece) -> int:
            for block, content in _kept(repository, piece, damages.append):
                os.pwrite(descriptor, content, block * BLOCK_BYTES)
            return len(piece)

        with ThreadPoolExecutor(threads) as pool:
            for done in _ahead(pool, write, _all_pieces(repository, manifest, damages), threads):
                progress(done)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return sorted(damages, key=lambda each: each.what)


def _is_of(name: str, snapshot: str) -> bool:
    return name == snapshot or name.rpartition("-")[0] == snapshot


def _all_pieces(
    repository: Repository, manifest: Manifest, damages: list[Damaged]
) -> Iterator[Piece]:
    for found in manifest.pages:
        yield from _pieces(repository, manifest, found, damages.append)


def _pieces(
    repository: Repository,
    manifest: Manifest,
    found: PagePlace,
    lose: Callable[[Damaged], None],
) -> Iterator[Piece]:
    try:
        places = list(repository.page(found).items())
    except Damaged as damage:
        lose(damage)
        return
    if places and places[-1][0] >= blocks_of(manifest.volume["size_gib"]):
        lose(Damaged(f"page {found.page}", "its blocks lie beyond the volume"))
        return
    for at in range(0, len(places), _STRIDE):
        yield places[at : at + _STRIDE]


def _kept(
    repository: Repository, piece: Piece, lose: Callable[[Damaged], None]
) -> Iterator[tuple[int, bytes]]:
    for block, content in repository.blobs(piece):
        if isinstance(content, Damaged):
            lose(content)
        else:
            yield block, content


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Piece], int], pieces: Iterator[Piece], threads: int
) -> Iterator[int]:
    """The results in order, with no more begun than the threads and as many waiting."""
    begun: deque[Future[int]] = deque()
    for piece in pieces:
        begun.append(pool.submit(work, piece))
        if len(begun) >= 2 * threads:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()
