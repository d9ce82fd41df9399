"""What a volume or a snapshot holds: its blocks by index, absent where nothing was ever written."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from typing import Any

from cpm.simulator.ebs_store import BLOCK_BYTES, Block

BLOCKS_PER_GIB = 2**30 // BLOCK_BYTES


class Contents:
    """Blocks by index. Forks share them until one of the two is written to."""

    def __init__(self) -> None:
        self._blocks: dict[int, Block] = {}
        self._is_shared = False
        self._order: array[int] | None = None

    def __len__(self) -> int:
        return len(self._blocks)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_order": None}

    def fork(self) -> "Contents":
        """The same contents, to be changed apart from these; costs nothing until then."""
        other = Contents()
        other._blocks, other._order = self._blocks, self._order
        self._is_shared = other._is_shared = True
        return other

    def get(self, index: int) -> Block | None:
        """The block at an index, None where nothing was written."""
        return self._blocks.get(index)

    def put(self, index: int, block: Block) -> None:
        """Write a block."""
        self._part()
        if index not in self._blocks:
            self._order = None
        self._blocks[index] = block

    def erase(self, index: int) -> None:
        """Let a block be as if it had never been written."""
        self._part()
        if self._blocks.pop(index, None) is not None:
            self._order = None

    def indexes(self, start: int = 0) -> Iterator[int]:
        """The indexes that were written, in order, from `start` on."""
        if self._order is None:
            self._order = array("Q", sorted(self._blocks))
        return islice(self._order, bisect_left(self._order, start), None)

    def _part(self) -> None:
        if self._is_shared:
            self._blocks = dict(self._blocks)
            self._is_shared = False
