"""Packs: many blobs in one object, which explains itself."""

import os
import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cpm.archive.blobs import Blob, Encoding, Kind, Place, digest_of
from cpm.archive.errors import Damaged
from cpm.archive.sealing import PACK, Key

DEFAULT_PACK_BYTES = 32 * 2**20
ID_BYTES = 16
PREFIX = "packs/"

_MAGIC, _END = b"CPMPACK1", b"CPMPEND1"
_ENTRY = struct.Struct(">BBHIII32s")
_OFFSET = 4  # among the fields of an entry
_TRAILER = struct.Struct(">II32s8s")
TRAILER_BYTES = _TRAILER.size


def name_of(pack: bytes) -> str:
    """The object's name."""
    return f"{PREFIX}{pack[:1].hex()}/{pack.hex()}"


def id_of(name: str) -> bytes | None:
    """The pack that an object is; None for foreign ones."""
    try:
        pack = bytes.fromhex(name.rpartition("/")[2])
    except ValueError:
        return None
    return pack if len(pack) == ID_BYTES and name_of(pack) == name else None


@dataclass(frozen=True, slots=True)
class Entry:
    """A blob as the table of its pack tells of it."""

    kind: Kind
    place: Place


class PackBuilder:
    """A pack that is being filled, in memory; places are known before it is stored."""

    def __init__(self, key: Key) -> None:
        self.id = os.urandom(ID_BYTES)
        self._key = key
        self._seal = key.seal(self.id, PACK)
        self._entries: list[Entry] = []
        self._parts: list[bytes] = [_MAGIC, self.id]
        self.size = len(_MAGIC) + ID_BYTES

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it worth storing."""
        return not self._entries

    def add(self, blob: Blob) -> Place:
        """Where the blob will lie once the pack is stored."""
        stored = self._seal.close(blob.content, self.size)
        place = Place(self.id, self.size, len(stored), blob.encoding, blob.raw_length, blob.digest)
        self._entries.append(Entry(blob.kind, place))
        self._append(stored)
        return place

    def finish(self) -> list[bytes]:
        """The whole object, in parts."""
        offset = self.size
        table = self._seal.close(b"".join(map(_packed, self._entries)), offset)
        self._append(table)
        self._append(_TRAILER.pack(offset, len(table), digest_of(table), _END))
        return self._parts

    def _append(self, part: bytes) -> None:
        self._parts.append(part)
        self.size += len(part)


class Trailer(NamedTuple):
    """Where the table is, and its SHA-256 as it is stored."""

    offset: int
    length: int
    digest: bytes


def entries(content: bytes, pack: bytes, key: Key) -> list[Entry]:
    """What a whole pack says that it holds; raises `Damaged`."""
    what = name_of(pack)
    head = len(_MAGIC) + ID_BYTES
    if len(content) < head + TRAILER_BYTES or content[:head] != _MAGIC + pack:
        raise Damaged(what, "it is no pack")
    trailer = trailer_of(content, what)
    if trailer.offset + trailer.length + TRAILER_BYTES != len(content):
        raise Damaged(what, "it is cut off")
    table = content[trailer.offset : trailer.offset + trailer.length]
    return list(_unpacked(opened(table, trailer, pack, key), pack, what))


def trailer_of(end: bytes, what: str) -> Trailer:
    """The trailer of a pack of which this is the end; raises `Damaged`."""
    if len(end) < TRAILER_BYTES:
        raise Damaged(what, "it is no pack")
    offset, length, digest, mark = _TRAILER.unpack(end[-TRAILER_BYTES:])
    if mark != _END:
        raise Damaged(what, "it is cut off")
    return Trailer(offset, length, digest)


def opened(table: bytes, trailer: Trailer, pack: bytes, key: Key) -> bytes:
    """The table of a pack, verified and decrypted; raises `Damaged`."""
    if digest_of(table) != trailer.digest:
        raise Damaged(name_of(pack), "the SHA-256 of its table differs")
    return key.seal(pack, PACK).open(table, trailer.offset)


def look_up(table: bytes, pack: bytes, offset: int) -> Entry | None:
    """What a table says that begins there; raises `Damaged`."""

    def offset_of(number: int) -> int:
        return int(_ENTRY.unpack_from(table, number * _ENTRY.size)[_OFFSET])

    count = len(table) // _ENTRY.size
    at = bisect_left(range(count), offset, key=offset_of)
    if at == count or offset_of(at) != offset:
        return None
    (entry,) = _unpacked(table[at * _ENTRY.size :][: _ENTRY.size], pack, name_of(pack))
    return entry


def _packed(entry: Entry) -> bytes:
    place = entry.place
    return _ENTRY.pack(
        entry.kind, place.encoding, 0, place.raw_length, place.offset, place.length, place.digest
    )


def _unpacked(table: bytes, pack: bytes, what: str) -> Iterator[Entry]:
    try:
        for kind, encoding, _, raw_length, offset, length, digest in _ENTRY.iter_unpack(table):
            place = Place(pack, offset, length, Encoding(encoding), raw_length, digest)
            yield Entry(Kind(kind), place)
    except (struct.error, ValueError) as error:
        raise Damaged(what, f"its table is none ({error})") from None
