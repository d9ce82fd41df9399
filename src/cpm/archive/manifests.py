"""Manifests: what an archived snapshot is, and where its pages are."""

import os
from datetime import datetime
from typing import Any

import msgspec
import zstandard

from cpm.archive.blobs import Encoding, Place, digest_of
from cpm.archive.errors import Damaged, NotAnArchive
from cpm.archive.sealing import MANIFEST, Key
from cpm.kernel import times

FORMAT = "cpm-archive"
VERSION = 1
PREFIX = "manifests/"
RETIRED = "retired/"

_MAGIC = b"CPMMANI1"
_SALT_BYTES = 16
_HEAD = len(_MAGIC) + _SALT_BYTES
# Of the largest volume that there is, with room: 32,768 pages of some 250 bytes.
_MOST_BYTES = 64 * 2**20


class PagePlace(msgspec.Struct, frozen=True):
    """Where one page lies, in a manifest's words."""

    page: int
    blocks: int
    pack: str
    offset: int
    length: int
    encoding: Encoding
    raw_length: int
    sha256: str

    @classmethod
    def of(cls, page: int, blocks: int, place: Place) -> "PagePlace":
        """The place of a page that has been stored."""
        return cls(
            page,
            blocks,
            place.pack.hex(),
            place.offset,
            place.length,
            place.encoding,
            place.raw_length,
            place.digest.hex(),
        )

    @property
    def place(self) -> Place:
        """As everything else tells places."""
        return Place(
            bytes.fromhex(self.pack),
            self.offset,
            self.length,
            self.encoding,
            self.raw_length,
            bytes.fromhex(self.sha256),
        )


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One archived snapshot."""

    format: str = FORMAT
    version: int = VERSION
    repository: str
    name: str
    created_at: str
    based_on: str | None
    snapshot: dict[str, Any]
    volume: dict[str, Any]
    instance: dict[str, Any] | None = None
    origin: dict[str, Any] | None = None
    blocks: int
    pages: list[PagePlace]


def new_name(snapshot_id: str, began_at: datetime) -> str:
    """The name of a copy that began at this time."""
    return f"{snapshot_id}-{began_at:%Y%m%dT%H%M%SZ}"


def encode(manifest: Manifest, key: Key) -> bytes:
    """The manifest as it is stored."""
    salt = os.urandom(_SALT_BYTES)
    body = zstandard.ZstdCompressor().compress(msgspec.json.encode(manifest))
    stored = _MAGIC + salt + key.seal(salt, MANIFEST).close(body, _HEAD)
    return stored + digest_of(stored)


def decode(content: bytes, name: str, key: Key) -> Manifest:
    """A stored manifest; raises `Damaged`, and `NotAnArchive` for one of another version."""
    what = f"manifest {name}"
    stored, digest = content[:-32], content[-32:]
    if stored[: len(_MAGIC)] != _MAGIC or len(stored) < _HEAD:
        raise Damaged(what, "it is no manifest")
    if digest_of(stored) != digest:
        raise Damaged(what, "its SHA-256 differs")
    seal = key.seal(stored[len(_MAGIC) : _HEAD], MANIFEST)
    try:
        body = zstandard.ZstdDecompressor().decompress(
            seal.open(stored[_HEAD:], _HEAD), max_output_size=_MOST_BYTES
        )
        manifest = msgspec.json.decode(body, type=Manifest)
    except (zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Damaged(what, f"it is none ({error})") from None
    return _checked(manifest, name)


def timestamp(moment: datetime) -> str:
    """A time as manifests write it."""
    return times.to_wire(moment)


def _checked(manifest: Manifest, name: str) -> Manifest:
    if (manifest.format, manifest.version) != (FORMAT, VERSION):
        raise NotAnArchive(f"Manifest {name} is of version {manifest.version}; this reads 1.")
    if manifest.name != name:
        raise Damaged(f"manifest {name}", f"it is that of {manifest.name}")
    numbers = [each.page for each in manifest.pages]
    if numbers != sorted(set(numbers)):
        raise Damaged(f"manifest {name}", "its pages are in disorder")
    return manifest
