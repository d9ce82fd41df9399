"""Copying a range of a snapshot into a repository: reading, encoding and storing at the same time.

Threads get blocks ahead, verify and compress them; the caller's own thread puts them into packs in
their order and tells checkpoints; other threads store packs. What may be in memory is a setting,
and has nothing to do with the size of the volume.

Some packs are on their way to the store at once, but the store gets the end of one only when the
one before it is in a checkpoint: whenever this dies, one pack at most is stored in vain.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

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

# Neighbours that are read and encoded, or will be.
_Piece = Future[list[tuple[int, Ready]]]


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
    not changed by `known`. `tell` is called in this thread with each checkpoint, as soon as all
    before it is stored; `after` is the last one, to go on from. What no checkpoint covers is one
    pack that is stored, at most, and what is in memory. Raises Fault, `LineageBroken` and `Damaged`
    (of `base`).
    """
    progress = progress or Progress()
    with (
        ThreadPoolExecutor(limits.uploads, "archive-put") as storing,
        closing(_Shelf(repository.store, tell, storing, limits.uploads, progress)) as shelf,
    ):
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
                shelf.settle(piece)
                for block, ready in piece.result():
                    writer.put(block, ready)
                    _count(progress, ready)
                if should_stop():
                    shelf.finish()
                    return False
        writer.finish()
        shelf.finish()
    return True


@dataclass(frozen=True, slots=True)
class _Upload:
    """A pack on its way, and what is to be told when it is there."""

    stored: Future[int]
    checkpoint: Checkpoint
    told: Future[None]


class _Shelf:
    """Packs are stored in the background, a few at once; they are there, and told, in order."""

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
        self._begun: deque[_Upload] = deque()

    def put(self, pack: Filled | None, checkpoint: Checkpoint) -> None:
        """As `writer.Shelf` says; waits while as many as may be are under way."""
        while len(self._begun) >= self._most:
            self._tell_first()
        before_end = self._begun[-1].told.result if self._begun else None
        stored = self._storing.submit(self._write, pack, before_end)
        self._begun.append(_Upload(stored, checkpoint, Future()))

    def settle(self, coming: Future[Any]) -> None:
        """Tell of what is stored by now, and until something comes."""
        while self._begun:
            stored = self._begun[0].stored
            wait([stored, coming], return_when=FIRST_COMPLETED)
            if not stored.done():
                return
            self._tell_first()

    def finish(self) -> None:
        """Wait for all that is under way, and tell of it."""
        while self._begun:
            self._tell_first()

    def close(self) -> None:
        """Let go of what is under way: nothing more is told."""
        for each in self._begun:
            each.told.cancel()

    def _tell_first(self) -> None:
        first = self._begun[0]
        self._progress.stored_bytes += first.stored.result()
        self._tell(first.checkpoint)
        first.told.set_result(None)
        self._begun.popleft()

    def _write(self, pack: Filled | None, before_end: Callable[[], None] | None) -> int:
        if pack is None:
            return 0
        self._store.write(pack.name, *pack.parts, before_end=before_end)
        return pack.size


def _read_ahead(
    source: Source, writer: RangeWriter, listed: Iterator[Listed], limits: Limits
) -> Generator[_Piece]:
    """What is listed, read and encoded, in order: each when it is about to come."""

    def work(piece: list[Listed]) -> list[tuple[int, Ready]]:
        return [(each.block, _ready(source, writer, each)) for each in piece]

    with ThreadPoolExecutor(limits.connections, "archive-get") as pool:
        begun: deque[_Piece] = deque()
        try:
            for piece in iter(lambda: list(islice(listed, _PIECE)), []):
                begun.append(pool.submit(work, piece))
                if len(begun) >= limits.pieces_ahead:
                    yield begun.popleft()
            while begun:
                yield begun.popleft()
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
