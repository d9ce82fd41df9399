"""Reads of recoveries."""

from django.db.models import (
    Avg,
    Case,
    F,
    IntegerField,
    OuterRef,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce

from cpm.engine import s3_progress
from cpm.models.operations import Operation, OperationPhase
from cpm.models.recoveries import Recovery, RecoveryPhase
from cpm.queries.people import Person, owned_by

_OF_STEP = Case(
    When(phase=OperationPhase.CLOSED, then=Value(100)),
    default=F("progress_percent"),
    output_field=IntegerField(),
)


def visible_to(viewer: Person) -> QuerySet[Recovery]:
    """The recoveries that somebody sees."""
    return Recovery.objects.filter(owned_by(viewer))


def listed(viewer: Person) -> QuerySet[Recovery]:
    """The same, with their progress in percent, and the backup unless its record was deleted.

    `s3_progress` is for `Progress.of`: how far they are that are being restored from S3.
    """
    steps = Operation.objects.filter(recovery=OuterRef("pk"), undoes=None).order_by()
    percent = steps.values("recovery").annotate(percent=Cast(Avg(_OF_STEP), IntegerField()))
    of_steps = Subquery(percent.values("percent"))
    # Of a recovery from S3 the blocks: they are most of the work.
    progress = Coalesce(s3_progress.percent_of_recoveries(), of_steps, Value(0))
    return visible_to(viewer).annotate(
        s3_progress=s3_progress.of_recoveries(),
        progress=Case(When(phase=RecoveryPhase.CLOSED, then=Value(100)), default=progress),
        shown_backup_id=Case(When(backup__discarded_at=None, then=F("backup_id"))),
    )
