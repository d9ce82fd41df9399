"""Reads of backups: the records of runs, frozen ones among them."""

from django.db.models import Avg, Case, F, IntegerField, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Cast, Coalesce

from cpm.engine import s3_progress
from cpm.models.backups import Backup, BackupPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.queries import retention
from cpm.queries.people import Person, owned_by

_OF_SNAPSHOT = Case(
    When(status=SnapshotStatus.IN_PROGRESS, then=F("progress_percent")), default=Value(100)
)


def visible_to(viewer: Person) -> QuerySet[Backup]:
    """The records that somebody sees; one that was deleted is gone at once."""
    return Backup.objects.filter(owned_by(viewer), discarded_at=None)


def listed(viewer: Person, *, many: bool = False) -> QuerySet[Backup]:
    """The same, with their progress in percent and what retention makes of them.

    `s3_progress` is for `Progress.of`: how far their copies to S3 are, where these are being made.
    `many` is how it is done best for more than a page of them.
    """
    snapshots = Snapshot.objects.filter(backup=OuterRef("pk")).order_by().values("backup")
    percent = Subquery(
        snapshots.annotate(percent=Cast(Avg(_OF_SNAPSHOT), IntegerField())).values("percent")
    )
    progress = Case(
        When(phase=BackupPhase.CLOSED, then=Value(100)), default=Coalesce(percent, Value(0))
    )
    told = {"progress": progress, "s3_progress": s3_progress.of_runs()}
    return retention.annotated(visible_to(viewer), many=many).annotate(**told)


def frozen(viewer: Person) -> QuerySet[Backup]:
    """Those of them that are outside retention."""
    return listed(viewer).filter(is_frozen=True)
