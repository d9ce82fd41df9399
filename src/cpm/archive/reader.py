"""Reading: the blocks of an archived snapshot, all of them verified."""

import errno
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from cpm.archive.blobs import BLOCK_BYTES, Place, blocks_of, digest_of, is_zeros
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
        for piece in pieces(repository, manifest, found, lose):
            yield from kept(repository, piece, lose)


def restore(
    repository: Repository,
    manifest: Manifest,
    path: Path,
    *,
    threads: int = DEFAULT_THREADS,
    progress: Callable[[int], None] = lambda _blocks: None,
) -> list[Damaged]:
    """Write a raw image, sparse where the volume is zeros; answers what was damaged and left out.

    One that was interrupted goes on: blocks that are there already are not read again. `progress`
    is told of numbers of blocks that are done. Raises `FileExistsError` for any other file.
    """
    damages: list[Damaged] = []
    with _image(manifest, path) as descriptor:

        def write(piece: Piece) -> int:
            rest = [each for each in piece if not _is_there(descriptor, *each)]
            for block, content in kept(repository, rest, damages.append):
                os.pwrite(descriptor, content, block * BLOCK_BYTES)
            return len(piece)

        with ThreadPoolExecutor(threads) as pool:
            for done in ahead(pool, write, _all_pieces(repository, manifest, damages), threads):
                progress(done)
    return in_order(damages)


def in_order(damages: Iterable[Damaged]) -> list[Damaged]:
    """Damages by what they name."""
    return sorted(damages, key=lambda each: each.what)


@contextmanager
def _image(manifest: Manifest, path: Path) -> Iterator[int]:
    """The image as a descriptor; a note beside it says, while it is not done, of what it is."""
    note = path.with_name(f"{path.name}.restoring")
    if path.exists() and not (note.exists() and note.read_text() == manifest.name):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    note.write_text(manifest.name)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.truncate(descriptor, blocks_of(manifest.volume["size_gib"]) * BLOCK_BYTES)
        yield descriptor
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    note.unlink()


def _is_there(descriptor: int, block: int, place: Place) -> bool:
    content = os.pread(descriptor, BLOCK_BYTES, block * BLOCK_BYTES)
    return not is_zeros(content) and digest_of(content) == place.digest


def _is_of(name: str, snapshot: str) -> bool:
    return name == snapshot or name.rpartition("-")[0] == snapshot


def _all_pieces(
    repository: Repository, manifest: Manifest, damages: list[Damaged]
) -> Iterator[Piece]:
    for found in manifest.pages:
        yield from pieces(repository, manifest, found, damages.append)


def pieces(
    repository: Repository,
    manifest: Manifest,
    found: PagePlace,
    lose: Callable[[Damaged], None],
    *,
    stride: int = _STRIDE,
) -> Iterator[Piece]:
    """The blocks of a page with their places, `stride` at a time; none of one that is damaged."""
    try:
        places = list(repository.page(found).items())
    except Damaged as damage:
        lose(damage)
        return
    if places and places[-1][0] >= blocks_of(manifest.volume["size_gib"]):
        lose(Damaged(f"page {found.page}", "its blocks lie beyond the volume"))
        return
    for at in range(0, len(places), stride):
        yield places[at : at + stride]


def kept(
    repository: Repository, piece: Piece, lose: Callable[[Damaged], None]
) -> Iterator[tuple[int, bytes]]:
    """The blocks of a piece that are whole; the others are told to `lose`."""
    for block, content in repository.blobs(piece):
        if isinstance(content, Damaged):
            lose(content)
        else:
            yield block, content


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[Piece], int], pieces: Iterator[Piece], threads: int
) -> Generator[int]:
    """The results in order, with no more begun than the threads and as many waiting."""
    begun: deque[Future[int]] = deque()
    for piece in pieces:
        begun.append(pool.submit(work, piece))
        if len(begun) >= 2 * threads:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()
