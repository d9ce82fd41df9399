"""Reads of recoveries."""

from django.db.models import (
    Avg,
    Case,
    Exists,
    F,
    IntegerField,
    OuterRef,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce, Greatest, Least

from cpm.engine import s3_progress
from cpm.models.operations import Operation, OperationPhase
from cpm.models.recoveries import Recovery, RecoveryPhase
from cpm.models.s3_restores import S3Restore, S3RestoreRange
from cpm.queries.people import Person, owned_by

# What is left when all blocks are there.
_NEARLY = 99
_OF_STEP = Case(
    When(phase=OperationPhase.CLOSED, then=Value(100)),
    default=F("progress_percent"),
    output_field=IntegerField(),
)


def visible_to(viewer: Person) -> QuerySet[Recovery]:
    """The recoveries that somebody sees."""
    return Recovery.objects.filter(owned_by(viewer))


def _of_restores() -> Case:
    """By blocks, of a recovery from S3: they are most of the work."""
    restores = S3Restore.objects.filter(recovery=OuterRef("pk")).order_by().values("recovery")
    all_of_them = restores.annotate(blocks=Sum("blocks")).values("blocks")
    ranges = S3RestoreRange.objects.filter(restore__recovery=OuterRef("pk")).order_by()
    done = ranges.values("restore__recovery").annotate(done=Sum("blocks_done")).values("done")
    share = 100 * Coalesce(Subquery(done), Value(0)) / Greatest(Subquery(all_of_them), Value(1))
    return Case(
        When(Exists(restores), then=Least(share, Value(_NEARLY))), output_field=IntegerField()
    )


def listed(viewer: Person) -> QuerySet[Recovery]:
    """The same, with their progress in percent, and the backup unless its record was deleted.

    `s3_progress` is for `Progress.of`: how far they are that are being restored from S3.
    """
    steps = Operation.objects.filter(recovery=OuterRef("pk"), undoes=None).order_by()
    percent = steps.values("recovery").annotate(percent=Cast(Avg(_OF_STEP), IntegerField()))
    progress = Coalesce(_of_restores(), Subquery(percent.values("percent")), Value(0))
    return visible_to(viewer).annotate(
        s3_progress=s3_progress.of_recoveries(),
        progress=Case(When(phase=RecoveryPhase.CLOSED, then=Value(100)), default=progress),
        shown_backup_id=Case(When(backup__discarded_at=None, then=F("backup_id"))),
    )
