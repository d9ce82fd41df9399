"""How far copies to S3 and restores from it are: percent, rate, and time left."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Sum

from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.pages import PAGE_BLOCKS
from cpm.engine import bulk, events
from cpm.kernel import amounts, clock
from cpm.models.backups import Backup
from cpm.models.events import Event
from cpm.models.s3_copies import S3Copy, S3CopyPhase, S3CopyRange
from cpm.models.snapshots import Snapshot

# How often the log tells how far it is.
_LINES = 10


@dataclass(frozen=True)
class Progress:
    """How far it is: the part that is dealt with, and how fast blocks are moved for that."""

    percent: int
    mib_per_second: int
    seconds_left: int | None

    @classmethod
    def since(cls, began_at: datetime | None, part: float, blocks: int) -> "Progress":
        """Of what began then and has come so far, by moving so many blocks."""
        now = clock.now()
        elapsed = (now - (began_at or now)).total_seconds()
        return cls(
            percent=int(100 * part),
            mib_per_second=round(blocks * BLOCK_BYTES / 2**20 / elapsed) if elapsed > 0 else 0,
            seconds_left=round(elapsed * (1 - part) / part) if part > 0 else None,
        )

    def is_news(self, percent_before: int) -> bool:
        """Whether a log that has told so much should tell this, too."""
        return self.percent * _LINES // 100 > percent_before * _LINES // 100

    @property
    def eta(self) -> str:
        """How long the rest may take, in words."""
        return amounts.wait(self.seconds_left)

    def __str__(self) -> str:
        return f"{self.percent} %, {self.mib_per_second} MiB/s, {self.eta} left"


def of(backup: Backup) -> Progress:
    """How far the copies of a run are."""
    return _progress(
        backup, _part_of_all(_parts(list(backup.s3_copies.select_related("snapshot"))))
    )


def tell(backup: Backup) -> None:
    """Write down how far the copies of a run are; log it when that is news."""
    parts = _parts(list(backup.s3_copies.select_related("snapshot")))
    bulk.update(list(_news(parts)), ["progress_percent"])
    _log(backup, _progress(backup, _part_of_all(parts)))


def _progress(backup: Backup, part: float) -> Progress:
    ranges = S3CopyRange.objects.filter(copy__backup=backup)
    blocks = ranges.aggregate(blocks=Sum("blocks_read"))["blocks"] or 0
    return Progress.since(backup.s3_started_at, part, blocks)


def _part_of_all(parts: Mapping[S3Copy, float]) -> float:
    """The part of all volumes together, each by its size."""
    sizes = {copy: copy.snapshot.size_gib or 1 for copy in parts}
    return sum(part * sizes[copy] for copy, part in parts.items()) / (sum(sizes.values()) or 1)


def _parts(copies: Sequence[S3Copy]) -> dict[S3Copy, float]:
    """The part of its volume that each copy has dealt with."""
    ranges = S3CopyRange.objects.filter(copy__in=copies)
    columns = ("copy", "first_page", "last_page", "block", "is_done")
    done, pages = defaultdict[int, float](float), defaultdict[int, int](int)
    # A range has much beside these columns.
    for copy_id, first, last, block, is_done in ranges.values_list(*columns):
        length = last + 1 - first
        pages[copy_id] += length
        done[copy_id] += length if is_done else max(0.0, block / PAGE_BLOCKS - first)
    return {copy: _part(copy, done[copy.pk], pages[copy.pk]) for copy in copies}


def _part(copy: S3Copy, done: float, pages: int) -> float:
    if copy.phase == S3CopyPhase.CLOSED:
        return 1.0
    return done / pages if pages else 0.0


def _news(parts: Mapping[S3Copy, float]) -> Iterator[Snapshot]:
    """The rows of those copies that have come on."""
    for copy, part in parts.items():
        # All of it is there only with its manifest.
        most = 100 if copy.phase == S3CopyPhase.CLOSED else 99
        percent = min(int(100 * part), most)
        if percent != copy.snapshot.progress_percent:
            copy.snapshot.progress_percent = percent
            yield copy.snapshot


def _log(backup: Backup, progress: Progress) -> None:
    told = Event.objects.filter(backup=backup, code="s3_progress").order_by("-pk").first()
    if progress.is_news(told.values["percent"] if told else 0):
        events.log(
            "s3_progress",
            backup=backup,
            percent=progress.percent,
            rate=progress.mib_per_second,
            eta=progress.eta,
        )
