"""Blobs: blocks and pages on their way into packs and out of them."""

import hashlib
import threading
from dataclasses import dataclass
from enum import IntEnum

import zstandard

from cpm.archive.errors import Damaged

BLOCK_BYTES = 524_288
DIGEST_BYTES = 32
# Half as fast again as zstd's own default, 3, for 3 % more bytes (bench/archive).
DEFAULT_LEVEL = 2

_ZEROS = bytes(BLOCK_BYTES)


class Kind(IntEnum):
    """What a blob is."""

    BLOCK = 0
    PAGE = 1


class Encoding(IntEnum):
    """How a blob is stored, before encryption."""

    RAW = 0
    ZSTD = 1


@dataclass(frozen=True, slots=True)
class Blob:
    """Something to be stored."""

    kind: Kind
    digest: bytes
    raw_length: int
    encoding: Encoding
    content: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a blob lies: the id of its pack, and what is needed to take it out."""

    pack: bytes
    offset: int
    length: int
    encoding: Encoding
    raw_length: int
    digest: bytes


class _Compressors(threading.local):
    """Contexts of zstd are costly to make, and each is one thread's."""

    def __init__(self) -> None:
        self.by_level: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        found = self.by_level.get(level)
        if found is None:
            found = self.by_level[level] = zstandard.ZstdCompressor(level=level)
        return found


_compressors = _Compressors()


def blocks_of(volume_gib: int) -> int:
    """How many places for blocks a volume has."""
    return volume_gib * 2**30 // BLOCK_BYTES


def is_zeros(block: bytes) -> bool:
    """Whether a block needs no place at all."""
    return block == _ZEROS


def digest_of(content: bytes) -> bytes:
    """The SHA-256, by which blobs are known."""
    return hashlib.sha256(content).digest()


def encode(
    kind: Kind, content: bytes, *, level: int = DEFAULT_LEVEL, digest: bytes | None = None
) -> Blob:
    """The blob of some content, in whatever encoding is shorter; `digest` saves hashing again."""
    known = digest or digest_of(content)
    compressed = _compressors.compressor(level).compress(content)
    if len(compressed) < len(content):
        return Blob(kind, known, len(content), Encoding.ZSTD, compressed)
    return Blob(kind, known, len(content), Encoding.RAW, content)


def decode(place: Place, content: bytes, what: str) -> bytes:
    """What was encoded, verified; raises `Damaged`, naming `what`."""
    if place.encoding is Encoding.ZSTD:
        try:
            content = _compressors.decompressor.decompress(
                content, max_output_size=place.raw_length
            )
        except zstandard.ZstdError as error:
            raise Damaged(what, f"it does not decompress ({error})") from None
    if len(content) != place.raw_length or digest_of(content) != place.digest:
        raise Damaged(what, "its SHA-256 differs")
    return content
