"""Pages: where the blocks of 4,096 successive places of a volume are."""

import struct
from collections.abc import Mapping

from cpm.archive.blobs import BLOCK_BYTES, DIGEST_BYTES, Encoding, Place
from cpm.archive.errors import Damaged
from cpm.archive.packs import ID_BYTES

PAGE_BLOCKS = 4_096

_COUNTS = struct.Struct(">II")
_ENTRY = struct.Struct(f">HHB3xII{DIGEST_BYTES}s")

# Where blocks are, by their number in the volume.
Places = dict[int, Place]


def page_of(block: int) -> int:
    """The page that tells of a block."""
    return block // PAGE_BLOCKS


def encode(places: Mapping[int, Place]) -> bytes:
    """The page of some places, all of one page."""
    packs: dict[bytes, int] = {}
    entries = bytearray()
    for block in sorted(places):
        place = places[block]
        number = packs.setdefault(place.pack, len(packs))
        entries += _ENTRY.pack(
            block % PAGE_BLOCKS, number, place.encoding, place.offset, place.length, place.digest
        )
    return _COUNTS.pack(len(packs), len(places)) + b"".join(packs) + bytes(entries)


def decode(content: bytes, page: int, what: str) -> Places:
    """The places in a page, in the order of blocks; raises `Damaged`, naming `what`."""
    try:
        count, length = _COUNTS.unpack_from(content)
        begin = _COUNTS.size + count * ID_BYTES
        ids = [content[at : at + ID_BYTES] for at in range(_COUNTS.size, begin, ID_BYTES)]
        if begin + length * _ENTRY.size != len(content):
            raise Damaged(what, "its length does not fit")
        places: Places = {}
        before = -1
        for index, pack, encoding, offset, stored, digest in _ENTRY.iter_unpack(content[begin:]):
            if not before < index < PAGE_BLOCKS:
                raise Damaged(what, "its blocks are in disorder")
            before = index
            places[page * PAGE_BLOCKS + index] = Place(
                ids[pack], offset, stored, Encoding(encoding), BLOCK_BYTES, digest
            )
    except (struct.error, ValueError, IndexError) as error:
        raise Damaged(what, f"it is no page ({error})") from None
    return places
