"""The bytes of all blocks, once each: in a file of slots, with an index of what is in which.

A block is freed when nothing refers to it any more. What a state file may still refer to is not
overwritten before the next state has been written, so that a killed simulator loses nothing.
"""

import hashlib
import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

BLOCK_BYTES = 524_288


class Block:
    """512 KiB that never change; two blocks with the same bytes are the same object."""

    __slots__ = ("__weakref__", "digest", "slot")

    def __init__(self, digest: bytes, slot: int) -> None:
        self.digest = digest
        self.slot = slot

    def __del__(self) -> None:
        STORE.let_go(self.slot)

    def __reduce__(self) -> tuple[Callable[[bytes, int], "Block"], tuple[bytes, int]]:
        return _adopted, (self.digest, self.slot)

    def read(self) -> bytes:
        """Its bytes."""
        return STORE.read(self)


class BlockStore:
    """A file of slots; safe for many threads, of which none waits while another reads or writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file: Any = None
        self._kept = False
        self._next_slot = 0
        self._free: deque[int] = deque()
        self._released: deque[int] = deque()
        self._blocks: WeakValueDictionary[bytes, Block] = WeakValueDictionary()

    def open(self, path: Path) -> None:
        """Keep blocks in `path` from now on; what is there already is taken over by `adopt`."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._kept = True
        self._next_slot = os.fstat(descriptor).st_size // BLOCK_BYTES
        self._free.extend(range(self._next_slot))

    def put(self, data: bytes, digest: bytes | None = None) -> Block:
        """The block with these bytes; `digest` is their SHA-256, when it is known already."""
        if len(data) != BLOCK_BYTES:
            raise ValueError(f"a block has {BLOCK_BYTES} bytes, not {len(data)}")
        key = digest or hashlib.sha256(data).digest()
        with self._lock:
            known = self._blocks.get(key)
            if known is not None:
                return known
            block = Block(key, self._allocate())
        os.pwrite(self._descriptor(), data, block.slot * BLOCK_BYTES)
        with self._lock:
            # Another thread may have been quicker with the same bytes.
            return self._blocks.setdefault(key, block)

    def read(self, block: Block) -> bytes:
        """The bytes of a block."""
        return os.pread(self._descriptor(), BLOCK_BYTES, block.slot * BLOCK_BYTES)

    def adopt(self, digest: bytes, slot: int) -> Block:
        """A block as it was kept; raises LookupError when the file does not have it."""
        with self._lock:
            known = self._blocks.get(digest)
            if known is not None:
                return known
            if slot >= self._next_slot:
                raise LookupError(f"the file of blocks ends before block {slot}")
            return self._blocks.setdefault(digest, Block(digest, slot))

    def close_gaps(self) -> None:
        """Once all that was kept is adopted: what nothing refers to is free."""
        with self._lock:
            used = {block.slot for block in self._blocks.values()}
            self._free = deque(slot for slot in range(self._next_slot) if slot not in used)
            self._released.clear()

    def let_go(self, slot: int) -> None:
        """Nothing refers to this slot any more. Called by the collector, so it takes no lock."""
        self._released.append(slot)

    def released(self) -> list[int]:
        """Slots that the state about to be written does not refer to."""
        return list(self._released)

    def flush(self) -> None:
        """See to it that what was put is on the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def free(self, slots: list[int]) -> None:
        """Use again what was released before a state that is now written."""
        with self._lock:
            # What has been released since stands behind these.
            self._free.extend(self._released.popleft() for _ in slots)

    def usage(self) -> dict[str, int]:
        """How many blocks there are, and the bytes of the file."""
        with self._lock:
            return {"blocks": len(self._blocks), "file_bytes": self._next_slot * BLOCK_BYTES}

    def _allocate(self) -> int:
        if not self._kept:
            while self._released:
                self._free.append(self._released.popleft())
        if self._free:
            return self._free.popleft()
        self._next_slot += 1
        return self._next_slot - 1

    def _descriptor(self) -> int:
        if self._file is None:
            with self._lock:
                if self._file is None:
                    self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - for good
        number: int = self._file.fileno()
        return number


# moto's state is one for a process, and so is this.
STORE = BlockStore()


def _adopted(digest: bytes, slot: int) -> Block:
    return STORE.adopt(digest, slot)
