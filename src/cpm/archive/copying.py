"""Copying a range of a snapshot into a repository: reading, encoding and storing at the same time.

Threads get blocks ahead, verify and compress them; the caller's own thread puts them into packs in
their order and tells checkpoints; other threads store packs. What may be in memory is a setting,
and has nothing to do with the size of the volume.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from cpm.archive import blobs, packs
from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.pages import PAGE_BLOCKS
from cpm.archive.repository import Repository
from cpm.archive.source import Listed, Source
from cpm.archive.store import Store
from cpm.archive.writer import (
    ZEROS,
    Base,
    Checkpoint,
    Filled,
    Known,
    RangeWriter,
    Ready,
)
from cpm.aws.patience import never

# Neighbours that one thread gets one after the other: a task for each block would cost more.
_PIECE = 4
# A block as it came, and as it is stored.
_BLOCK_MEMORY = 2 * BLOCK_BYTES


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a copy may take of its process."""

    memory_bytes: int = 384 * 2**20
    connections: int = 8
    uploads: int = 2
    pack_bytes: int = packs.DEFAULT_PACK_BYTES
    level: int = blobs.DEFAULT_LEVEL

    @property
    def pieces_ahead(self) -> int:
        """How many pieces may be on their way, besides the packs that are filled and stored."""
        left = self.memory_bytes - (self.uploads + 1) * self.pack_bytes
        return max(1, min(4 * self.connections, left // (_PIECE * _BLOCK_MEMORY)))


USUAL = Limits()


@dataclass
class Progress:
    """How far a copy or a restore has come; what it counts belongs to this run alone."""

    blocks: int = 0
    read_bytes: int = 0
    stored_bytes: int = 0


def copy_range(
    repository: Repository,
    source: Source,
    pages: range,
    *,
    tell: Callable[[Checkpoint], None],
    base: Base | None = None,
    known: Known | None = None,
    after: Checkpoint | None = None,
    should_stop: Callable[[], bool] = never,
    limits: Limits = USUAL,
    progress: Progress | None = None,
) -> bool:
    """Copy what `source` lists of the pages; False if it was stopped before the end.

    `base` are the pages that an incremental copy changes; a full one has none, and names what has
    not changed by `known`. `tell` is called in this thread with each checkpoint, once all before it
    is stored; `after` is the last one, to go on from. A stop costs what no checkpoint covers, at
    most a pack or so. Raises Fault, `LineageBroken` and `Damaged` (of `base`).
    """
    progress = progress or Progress()
    with ThreadPoolExecutor(limits.uploads, "archive-put") as storing:
        shelf = _Shelf(repository.store, tell, storing, limits.uploads, progress)
        writer = RangeWriter(
            repository,
            shelf,
            base=base,
            known=known,
            after=after,
            pack_bytes=limits.pack_bytes,
            level=limits.level,
        )
        end = pages.stop * PAGE_BLOCKS
        listed = source.blocks(max(writer.next, pages.start * PAGE_BLOCKS), end)
        with closing(_read_ahead(source, writer, listed, limits)) as pieces:
            for piece in pieces:
                for block, ready in piece:
                    writer.put(block, ready)
                    _count(progress, ready)
                shelf.settle()
                if should_stop():
                    shelf.finish()
                    return False
        writer.finish()
        shelf.finish()
    return True


class _Shelf:
    """Packs are stored in the background, a few at once; checkpoints are told in order."""

    def __init__(
        self,
        store: Store,
        tell: Callable[[Checkpoint], None],
        storing: ThreadPoolExecutor,
        most: int,
        progress: Progress,
    ) -> None:
        self._store = store
        self._tell = tell
        self._storing = storing
        self._most = most
        self._progress = progress
        self._begun: deque[tuple[Future[int], Checkpoint]] = deque()

    def put(self, pack: Filled | None, checkpoint: Checkpoint) -> None:
        """As `writer.Shelf` says; waits while as many as may be are under way."""
        while len(self._begun) >= self._most:
            self._tell_first()
        before = [each for each, _ in self._begun] if pack and pack.has_pages else []
        self._begun.append((self._storing.submit(self._write, pack, before), checkpoint))

    def settle(self) -> None:
        """Tell of what is stored by now."""
        while self._begun and self._begun[0][0].done():
            self._tell_first()

    def finish(self) -> None:
        """Wait for all that is under way, and tell of it."""
        while self._begun:
            self._tell_first()

    def _tell_first(self) -> None:
        stored, checkpoint = self._begun[0]
        self._progress.stored_bytes += stored.result()
        self._begun.popleft()
        self._tell(checkpoint)

    def _write(self, pack: Filled | None, before: list[Future[int]]) -> int:
        if pack is None:
            return 0
        for each in before:
            each.result()
        self._store.write(pack.name, *pack.parts)
        return pack.size


def _read_ahead(
    source: Source, writer: RangeWriter, listed: Iterator[Listed], limits: Limits
) -> Generator[list[tuple[int, Ready]]]:
    """What is listed, read and encoded, in order."""

    def work(piece: list[Listed]) -> list[tuple[int, Ready]]:
        return [(each.block, _ready(source, writer, each)) for each in piece]

    with ThreadPoolExecutor(limits.connections, "archive-get") as pool:
        begun: deque[Future[list[tuple[int, Ready]]]] = deque()
        try:
            for piece in iter(lambda: list(islice(listed, _PIECE)), []):
                begun.append(pool.submit(work, piece))
                if len(begun) >= limits.pieces_ahead:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for each in begun:
                each.cancel()


def _ready(source: Source, writer: RangeWriter, listed: Listed) -> Ready:
    if listed.token is None:
        return ZEROS
    found = source.read(listed)
    return writer.ready(listed.block, found.content, found.digest)


def _count(progress: Progress, ready: Ready) -> None:
    progress.blocks += 1
    if ready.place is not None or ready.blob is not None:
        progress.read_bytes += BLOCK_BYTES
