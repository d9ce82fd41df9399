"""Tables of packs by themselves, to compare with what pages say of the same places."""

from collections import OrderedDict

from cpm.archive import packs
from cpm.archive.blobs import Kind, Place
from cpm.archive.errors import Damaged, NotFound
from cpm.archive.repository import Repository

# The end of a pack that has the table of most.
_USUAL_BYTES = 16 * 2**10
# Pages name neighbours, so that few tables are read again.
_MOST_BYTES = 32 * 2**20


class Tables:
    """What tables say, of the packs that were asked for last."""

    def __init__(self, repository: Repository, *, most_bytes: int = _MOST_BYTES) -> None:
        self._repository = repository
        self._most_bytes = most_bytes
        self._bytes = 0
        self._tables: OrderedDict[bytes, bytes | None] = OrderedDict()

    def deny(self, place: Place) -> bool:
        """Whether a pack has something else than this block there. Raises Fault.

        One whose table cannot be read denies nothing: that is damage of its own.
        """
        try:
            table = self._table(place.pack)
            if table is None:
                return False
            entry = packs.look_up(table, place.pack, place.offset)
        except Damaged:
            return False
        return entry is None or entry.kind is not Kind.BLOCK or entry.place != place

    def _table(self, pack: bytes) -> bytes | None:
        if pack in self._tables:
            self._tables.move_to_end(pack)
            return self._tables[pack]
        table = self._tables[pack] = self._read(pack)
        self._bytes += len(table or b"")
        while self._bytes > self._most_bytes and len(self._tables) > 1:
            _, oldest = self._tables.popitem(last=False)
            self._bytes -= len(oldest or b"")
        return table

    def _read(self, pack: bytes) -> bytes | None:
        name = packs.name_of(pack)
        try:
            return self._read_table(pack, name)
        except (Damaged, NotFound):
            return None

    def _read_table(self, pack: bytes, name: str) -> bytes:
        store = self._repository.store
        end = store.read_end(name, _USUAL_BYTES)
        trailer = packs.trailer_of(end, name)
        stored = end[: -packs.TRAILER_BYTES][-trailer.length :]
        if len(stored) < trailer.length:
            stored = store.read_range(name, trailer.offset, trailer.length)
        return packs.opened(stored, trailer, pack, self._repository.key)
