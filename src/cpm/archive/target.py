"""Putting an archived snapshot back into EBS: started, filled by ranges of pages, and completed.

Ranges are independent, and any number of processes may fill one snapshot; putting a block again
does no harm. A snapshot that is not completed is nothing yet, so a restore that lost something ends
there, unless somebody has decided that the rest is wanted.
"""

import hashlib
import threading
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from cpm.archive import reader
from cpm.archive.copying import USUAL, Limits, Progress
from cpm.archive.direct import Blocks
from cpm.archive.errors import Damaged
from cpm.archive.manifests import Manifest
from cpm.archive.pages import PAGE_BLOCKS
from cpm.archive.reader import Piece
from cpm.archive.repository import Repository
from cpm.aws.patience import never, patiently
from cpm.aws.sessions import Aws
from cpm.kernel.faults import FaultKind

# The IAM actions of what is done here.
PERMISSIONS = ("ebs:CompleteSnapshot", "ebs:PutSnapshotBlock", "ebs:StartSnapshot")

# Blocks of one piece of work: 8 MiB, which one request of S3 brings.
_STRIDE = 16
# How long EBS waits for another block, and for the completion, before it gives a snapshot up.
_TIMEOUT_MINUTES = 24 * 60
# What may pass besides the usual: a snapshot that was just started is not known everywhere yet.
_PASSING = (FaultKind.THROTTLED, FaultKind.TRANSIENT, FaultKind.UNKNOWN, FaultKind.MISSING)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The snapshot to be made. `token` stands for the intent: the same one starts it only once."""

    token: str
    volume_gib: int
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    is_encrypted: bool = False
    kms_key_arn: str | None = None


def start(aws: Aws, wanted: Wanted) -> str:
    """Start a snapshot without a parent; answers its id. One call; raises Fault."""
    encryption: dict[str, Any] = {}
    if wanted.is_encrypted or wanted.kms_key_arn:
        encryption = {"Encrypted": True}
    if wanted.kms_key_arn:
        encryption["KmsKeyArn"] = wanted.kms_key_arn
    answer = aws.call(
        "ebs",
        "StartSnapshot",
        VolumeSize=wanted.volume_gib,
        Description=wanted.description,
        Tags=[{"Key": key, "Value": value} for key, value in wanted.tags.items()],
        ClientToken=wanted.token,
        Timeout=_TIMEOUT_MINUTES,
        **encryption,
    )
    started: str = answer["SnapshotId"]
    return started


@dataclass(frozen=True, kw_only=True)
class Restored:
    """How far a range has come: to its end, or to `block`; and what was damaged and left out."""

    is_finished: bool
    block: int
    damages: list[Damaged]


def restore_range(
    repository: Repository,
    manifest: Manifest,
    aws: Aws,
    snapshot_id: str,
    pages: range,
    *,
    first_block: int = 0,
    tell: Callable[[int, Sequence[Damaged]], None] = lambda _block, _damages: None,
    percent: Callable[[], int] | None = None,
    should_stop: Callable[[], bool] = never,
    limits: Limits = USUAL,
    progress: Progress | None = None,
) -> Restored:
    """Put what a manifest has of the pages into a snapshot that was started, all of it verified.

    Begins at `first_block`; `tell` hears in this thread before which block all is done, and what
    was damaged so far. `percent` is what EC2 shall show of the whole. What is damaged is named and
    not put. Raises Fault.
    """
    progress = progress or Progress()
    damages: list[Damaged] = []
    putter = _Putter(aws, snapshot_id, percent, progress)

    def put(piece: Piece) -> int:
        for block, content in reader.kept(repository, piece, damages.append):
            putter.put(block, content)
        return piece[-1][0] + 1

    wanted = _pieces(repository, manifest, pages, first_block, damages.append)
    done = first_block
    with (
        ThreadPoolExecutor(limits.connections, "archive-restore") as pool,
        closing(reader.ahead(pool, put, wanted, limits.connections)) as finished,
    ):
        for done in finished:
            tell(done, damages)
            if should_stop():
                break
        else:
            done = pages.stop * PAGE_BLOCKS
    is_finished = done == pages.stop * PAGE_BLOCKS
    return Restored(is_finished=is_finished, block=done, damages=reader.in_order(damages))


@dataclass(frozen=True, slots=True)
class Totals:
    """What AWS compares with what it has got: the number and the checksum of all blocks."""

    blocks: int
    checksum: str


def totals(repository: Repository, manifest: Manifest, *, lost: Collection[str] = ()) -> Totals:
    """Of everything that was put, but for `lost`: what damages called it. Reads all pages.

    Raises Fault, and `Damaged` for a page that cannot be read and is not in `lost`.
    """
    whole, count = hashlib.sha256(), 0
    for found in manifest.pages:
        if f"page {found.page}" in lost:
            continue
        for block, place in repository.page(found).items():
            if f"block {block}" not in lost:
                whole.update(place.digest)
                count += 1
    return Totals(count, b64encode(whole.digest()).decode())


def complete(aws: Aws, snapshot_id: str, put: Totals) -> None:
    """Seal a snapshot into which everything was put. One call; raises Fault."""
    aws.call(
        "ebs",
        "CompleteSnapshot",
        SnapshotId=snapshot_id,
        ChangedBlocksCount=put.blocks,
        Checksum=put.checksum,
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )


class _Putter:
    """Puts blocks into one snapshot. Thread-safe."""

    def __init__(
        self, aws: Aws, snapshot_id: str, percent: Callable[[], int] | None, progress: Progress
    ) -> None:
        self._blocks = Blocks(aws)
        self._snapshot_id = snapshot_id
        self._percent = percent
        self._progress = progress
        self._lock = threading.Lock()

    def put(self, block: int, content: bytes) -> None:
        """Put one block; raises Fault when it does not pass."""
        percent = self._percent() if self._percent else None
        patiently(
            lambda: self._blocks.put(self._snapshot_id, block, content, percent), passing=_PASSING
        )
        with self._lock:
            self._progress.blocks += 1
            self._progress.stored_bytes += len(content)


def _pieces(
    repository: Repository,
    manifest: Manifest,
    pages: range,
    first_block: int,
    lose: Callable[[Damaged], None],
) -> Iterator[Piece]:
    """What is to be put, as much at a time as one request of S3 brings."""
    for found in manifest.pages:
        if found.page not in pages or (found.page + 1) * PAGE_BLOCKS <= first_block:
            continue
        for piece in reader.pieces(repository, manifest, found, lose, stride=_STRIDE):
            rest = [each for each in piece if each[0] >= first_block]
            if rest:
                yield rest
