"""Reads of snapshots, of one kind or all, and of resources that are recovered whole."""

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Max, Min, OuterRef, QuerySet, Subquery

from cpm.engine import s3_progress
from cpm.engine.deleted import archives, shared_collections
from cpm.models.backups import BackupTarget
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.queries.people import Person, owned_by
from cpm.resources.contract import Driver


def of_backup(viewer: Person, backup_id: int) -> QuerySet[Snapshot]:
    """The snapshots of a record, if the viewer sees it."""
    return Snapshot.objects.filter(
        owned_by(viewer, "backup__user"), backup=backup_id, backup__discarded_at=None
    )


def of_collection(viewer: Person, backup_id: int, collection: str) -> QuerySet[Snapshot]:
    """Those of one kind; copies in S3 with `s3_progress` for `Progress.of` while they are made."""
    rows = of_backup(viewer, backup_id).filter(collection=collection)
    if collection not in archives():
        return rows
    return rows.annotate(s3_progress=s3_progress.of_copies("s3_copy__", ""))


def resources(viewer: Person, backup_id: int, driver: Driver) -> QuerySet[BackupTarget]:
    """The resources of one type as a record found them, if the viewer sees it."""
    return BackupTarget.objects.filter(
        owned_by(viewer, "backup__user"),
        backup=backup_id,
        backup__discarded_at=None,
        kind=driver.kind,
    )


def resources_listed(viewer: Person, backup_id: int, driver: Driver) -> QuerySet[BackupTarget]:
    """The same, each with what there is of it: its parts, and the one copy of the whole."""
    own = Snapshot.objects.filter(target=OuterRef("pk"), source_snapshot=None).order_by("pk")
    whole = own.filter(resource_id=OuterRef("resource_id")).exclude(status=SnapshotStatus.DELETED)
    parts = own.exclude(resource_id=OuterRef("resource_id"))
    # What it shares with other records does not say how this copy of it stands.
    alone = own.exclude(collection__in=shared_collections())
    together = alone.order_by().values("target")
    return resources(viewer, backup_id, driver).annotate(
        part_ids=ArraySubquery(parts.values("pk")),
        whole_ref=Subquery(whole.values("aws_ref")[:1]),
        statuses=ArraySubquery(alone.values("status")),
        started_at=Subquery(together.annotate(first=Min("started_at")).values("first")),
        finished_at=Subquery(together.annotate(last=Max("finished_at")).values("last")),
    )
