"""What a worker machine and the server say to each other: JSON, over HTTPS, the machine asks.

Both sides are of one version, since the server hands out its own software.
"""

from datetime import datetime
from typing import Literal

import msgspec

from cpm.archive import pages
from cpm.archive.known import Near
from cpm.archive.manifests import PagePlace
from cpm.archive.writer import Checkpoint
from cpm.kernel.faults import FaultKind

# What a machine may have a range of, and which side of AWS it gets at for that.
Kind = Literal["copy", "restore"]
Side = Literal["snapshot", "repository"]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """An account and a region of AWS."""

    account: str
    region: str


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """The repository that a copy goes to; `key` is that of its blobs, where they are encrypted."""

    id: str
    place: Place
    bucket: str
    prefix: str
    storage_class: str
    key: bytes | None = None

    def __repr__(self) -> str:
        return f"Archive({self.bucket}/{self.prefix})"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint as it is told: `pages` are those done since the one before."""

    block: int = 0
    pages: dict[int, PagePlace | None] = {}
    open_page: bytes = b""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Progress":
        """What the archive tells."""
        return cls(block=checkpoint.block, pages=checkpoint.pages, open_page=checkpoint.open_page)

    @property
    def checkpoint(self) -> Checkpoint:
        """As the archive has it."""
        return Checkpoint(self.block, self.pages, self.open_page)


class _Range(msgspec.Struct, frozen=True, kw_only=True):
    """Some pages of a snapshot, which is at `place`, and of the archive."""

    range_id: int
    version: int
    first_page: int
    last_page: int
    place: Place
    snapshot_id: str
    archive: Archive
    # To call instead of AWS: the emulated one.
    aws_endpoint: str = ""


class Copying(_Range, frozen=True, kw_only=True, tag="copy"):
    """To copy the pages into the archive, going on from `after`.

    With `compared_with` they are what has changed since that snapshot, on top of the manifest
    `based_on`; without, they are all blocks, and those that `based_on` has are named again.
    """

    compared_with: str = ""
    based_on: str = ""
    after: Progress = Progress()
    pack_bytes: int
    level: int


class Restoring(_Range, frozen=True, kw_only=True, tag="restore"):
    """To put what the manifest has of the pages into the snapshot, from `block` on."""

    manifest: str
    block: int


Assignment = Copying | Restoring


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to do, or when to ask again."""

    assignment: Assignment | None = None
    wait_seconds: float = 0.0


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A range that the machine has, as it knows it."""

    range_id: int
    version: int
    kind: Kind = "copy"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint of a range; with `is_done` its last one. `lost` is what of it is damaged."""

    held: Held
    progress: Progress
    blocks: int
    stored_bytes: int
    lost: list[str] = []
    is_done: bool = False


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The range as it is now, and whether to go on with it."""

    version: int
    go_on: bool


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """Why it did not come to a range's end: a fault of AWS's, a broken lineage, or damage."""

    held: Held
    reason: Literal["fault", "lineage", "damage", "stopped"]
    message: str = ""
    kind: FaultKind = FaultKind.INVALID


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Keys for one side of a range that the machine has."""

    held: Held
    side: Side


class Lent(msgspec.Struct, frozen=True, kw_only=True):
    """Temporary keys."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Lent({self.access_key_id}, until {self.expires_at})"


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """What the copy's repository has of blocks already: see `cpm.archive.known.Elsewhere`."""

    beginnings: bytes = b""


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """A block that the index may have."""

    held: Held
    digest: bytes


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Where it is, and all that the index has near it; nothing where it has no such block.

    The places are written as a page is (archive-format.md), in any order.
    """

    manifest: str = ""
    places: bytes = b""

    @classmethod
    def of(cls, near: Near | None) -> "Found":
        """What the index has said."""
        if near is None:
            return cls()
        numbered = dict(enumerate(near.places.values()))
        return cls(manifest=near.manifest, places=pages.encode(numbered))

    @property
    def near(self) -> Near | None:
        """As the archive has it."""
        if not self.manifest:
            return None
        found = pages.decode(self.places, 0, "what the server knows of blocks")
        return Near(self.manifest, {place.digest: place for place in found.values()})


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of AWS that the machine means to make; the server says how many it may."""

    place: Place
    operation: str
    tokens: int = 1
    patience_seconds: float = 60.0


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """So many calls, after so many seconds; none where that would take too long."""

    tokens: int
    wait_seconds: float


class Alive(msgspec.Struct, frozen=True, kw_only=True):
    """A sign of life, with the ranges that the machine is at."""

    held: list[Held] = []


class GoOn(msgspec.Struct, frozen=True, kw_only=True):
    """Those of them that are still the machine's, as it has named them."""

    held: list[Held] = []
