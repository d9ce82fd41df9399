"""How far copies to S3 and restores from it are: percent, rate, and time left."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from django.db.models import (
    Case,
    F,
    FloatField,
    IntegerField,
    JSONField,
    Min,
    OuterRef,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import (
    Cast,
    Coalesce,
    Floor,
    Greatest,
    JSONObject,
    Least,
    NullIf,
)

from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.pages import PAGE_BLOCKS
from cpm.engine import bulk, events
from cpm.kernel import amounts, clock
from cpm.models.backups import Backup, CopyStatus
from cpm.models.events import Event
from cpm.models.recoveries import RecoveryPhase
from cpm.models.s3_copies import S3Copy, S3CopyPhase, S3CopyRange
from cpm.models.s3_restores import S3Restore, S3RestoreRange
from cpm.models.snapshots import Snapshot

# How often the log tells how far it is.
_LINES = 10
# What is under way is not all there: that takes its manifest, or its seal.
_MOST = 99


class Measured(msgspec.Struct, frozen=True):
    """What the rows say: since when, which part of it is dealt with, and what moved for that."""

    began_at: datetime | None
    part: float
    blocks: int


@dataclass(frozen=True)
class Progress:
    """How far it is: the part that is dealt with, and how fast blocks are moved for that."""

    percent: int
    mib_per_second: int
    seconds_left: int | None

    @classmethod
    def of(cls, measured: object) -> "Progress | None":
        """By what one of the expressions below has come to; None when nothing is under way."""
        if measured is None:
            return None
        known = msgspec.convert(measured, Measured)
        return cls.since(known.began_at, known.part, known.blocks)

    @classmethod
    def since(cls, began_at: datetime | None, part: float, blocks: int) -> "Progress":
        """Of what began then and has come so far, by moving so many blocks."""
        now = clock.now()
        # Of a clock that was set back since, nothing can be told.
        elapsed = max(0.0, (now - (began_at or now)).total_seconds())
        return cls(
            percent=min(int(100 * part), _MOST),
            mib_per_second=round(blocks * BLOCK_BYTES / 2**20 / elapsed) if elapsed > 0 else 0,
            seconds_left=round(elapsed * (1 - part) / part) if part * elapsed > 0 else None,
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


def measured(began_at: Any, part: Any, blocks: Any) -> JSONObject:
    """What `Progress.of` takes, made by the database."""
    return JSONObject(began_at=began_at, part=part, blocks=blocks)


def of_copies(copy: str = "", snapshot: str = "snapshot__") -> Case:
    """Of each copy that is being made, by itself; the paths lead to the copy and to its row."""
    is_running = {f"{copy}phase": S3CopyPhase.RUNNING}
    told = measured(f"{snapshot}started_at", _part(copy), _blocks(copy))
    return Case(When(**is_running, then=told), output_field=JSONField())


def of_runs() -> Case:
    """Of each record whose copies are being made, together with those of the run's others."""
    copies = S3Copy.objects.filter(
        backup__run=OuterRef("run"),
        backup__s3_due_at__isnull=False,
        backup__s3_started_at__isnull=False,
    )
    size = Coalesce(NullIf("snapshot__size_gib", Value(0)), Value(1))
    each = copies.order_by().annotate(size=size, part=_part(), moved=_blocks())
    part = Sum(F("part") * F("size"), output_field=FloatField()) / Sum("size")
    told = measured("backup__s3_started_at", part, Sum("moved"))
    together = each.values("backup__s3_started_at").annotate(told=told).values("told")
    # Of a policy it is one at most: for all other records nothing is looked up.
    return Case(
        When(s3_status=CopyStatus.IN_PROGRESS, then=Subquery(together)), output_field=JSONField()
    )


def of_recoveries() -> Case:
    """Of each recovery whose copies are being restored, together."""
    told = measured(Min("began_at"), _PART_PUT, Sum("put"))
    together = _restores().annotate(told=told).values("told")
    are_being_restored = When(phase=RecoveryPhase.PLANNED, error="", then=Subquery(together))
    return Case(are_being_restored, output_field=JSONField())


def percent_of_recoveries() -> Subquery:
    """The same in percent, also of those that are over; null where nothing is restored from S3."""
    percent = Least(Cast(Floor(100 * _PART_PUT), IntegerField()), Value(_MOST))
    return Subquery(_restores().annotate(percent=percent).values("percent"))


def of(backup: Backup) -> Progress | None:
    """How far the copies of a run are; None while they are not being made."""
    rows = Backup.objects.filter(pk=backup.pk).annotate(told=of_runs())
    return Progress.of(rows.values_list("told", flat=True).get())


def tell(backup: Backup) -> None:
    """Write down how far the copies of a run are; log it when that is news."""
    copies = backup.s3_copies.select_related("snapshot").annotate(part=_part())
    bulk.update(list(_news(copies)), ["progress_percent"])
    progress = of(backup)
    if progress is not None:
        _log(backup, progress)


def _part(path: str = "") -> Case:
    """The part of its volume that a copy has dealt with."""
    length = F("last_page") + 1 - F("first_page")
    begun = F("block") / Value(float(PAGE_BLOCKS)) - F("first_page")
    done = Case(
        When(is_done=True, then=Cast(length, FloatField())),
        default=Greatest(Value(0.0), begun, output_field=FloatField()),
    )
    part = _ranges(path).annotate(part=Sum(done) / Sum(length, output_field=FloatField()))
    return Case(
        When(**{f"{path}phase": S3CopyPhase.CLOSED}, then=Value(1.0)),
        default=Coalesce(Subquery(part.values("part")), Value(0.0)),
        output_field=FloatField(),
    )


def _blocks(path: str = "") -> Any:
    """How many blocks were moved for a copy."""
    moved = _ranges(path).annotate(moved=Sum("blocks_read")).values("moved")
    return F(f"{path}blocks_read") + Coalesce(Subquery(moved), Value(0))


def _restores() -> QuerySet[S3Restore, Any]:
    """The restores of a recovery together, with the blocks that were put."""
    ranges = S3RestoreRange.objects.filter(restore=OuterRef("pk")).order_by().values("restore")
    put = Coalesce(Subquery(ranges.annotate(put=Sum("blocks_done")).values("put")), Value(0))
    restores = S3Restore.objects.filter(recovery=OuterRef("pk")).order_by()
    return restores.annotate(put=put).values("recovery")


_PART_PUT = Sum("put") / Greatest(Value(1.0), Sum("blocks"), output_field=FloatField())


def _ranges(path: str) -> QuerySet[S3CopyRange, Any]:
    ranges = S3CopyRange.objects.filter(copy=OuterRef(f"{path}pk"))
    return ranges.order_by().values("copy")


def _news(copies: Iterable[Any]) -> Iterator[Snapshot]:
    """The rows of those copies that have come on."""
    for copy in copies:
        most = 100 if copy.phase == S3CopyPhase.CLOSED else _MOST
        percent = min(int(100 * copy.part), most)
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
