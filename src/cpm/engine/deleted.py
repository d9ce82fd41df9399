"""What follows when AWS has deleted a snapshot, or refused to."""

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from cpm.engine import accounts, alerts, cleanup_log, events
from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.alerts import AlertCategory
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, CopyStatus
from cpm.models.events import Event
from cpm.models.operations import Operation
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.resources import registry


def live_snapshots(*, with_s3: bool = False) -> QuerySet[Snapshot]:
    """Snapshots that AWS keeps for us, good ones and others; copies in S3 only if wanted."""
    live = Snapshot.objects.exclude(status=SnapshotStatus.DELETED).exclude(aws_ref="")
    return live if with_s3 else live.exclude(collection__in=archives())


def kept_snapshots() -> QuerySet[Snapshot]:
    """Snapshots that AWS keeps for us, and whose deletion nobody has asked for."""
    return live_snapshots().filter(delete_requested_at=None)


def shared_collections() -> list[str]:
    """The collections of which records share copies."""
    return [
        collection.name
        for driver in registry.drivers()
        for collection in driver.snapshot_collections
        if collection.shared_watch
    ]


def archives() -> list[str]:
    """The collections of copies in S3."""
    return [
        collection.name
        for driver in registry.drivers()
        for collection in driver.snapshot_collections
        if collection.is_archive
    ]


def is_only_marked(snapshot: Snapshot) -> bool:
    """Whether its account forbids deleting it, so that it is marked as expired instead."""
    _, collection = registry.by_snapshot_collection(snapshot.collection)
    return bool(collection.expire) and accounts.forbids_deleting(snapshot.account)


def wanted_away(*, with_s3: bool = False) -> QuerySet[Snapshot]:
    """Snapshots whose deletion was asked for, and that AWS still has."""
    return live_snapshots(with_s3=with_s3).filter(delete_requested_at__isnull=False)


@transaction.atomic
def mark_deleted(snapshot_ids: Iterable[int]) -> None:
    """AWS has let go of the snapshots."""
    rows = Snapshot.objects.filter(pk__in=list(snapshot_ids))
    snapshots = sorted(rows.select_related("account"), key=attrgetter("pk"))
    # Locked, so that of two last deletions the later one sees that nothing is left.
    ids = {snapshot.backup_id for snapshot in snapshots}
    backups = Backup.objects.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True)
    by_id = {backup.pk: backup for backup in backups}
    rows.update(status=SnapshotStatus.DELETED, deleted_at=clock.now())
    events.log_all(_line(snapshot, by_id[snapshot.backup_id]) for snapshot in snapshots)
    for backup in by_id.values():
        settle_emptied(backup)
    for cause, last in {refusal_cause(snapshot): snapshot for snapshot in snapshots}.items():
        if not wanted_away().filter(account=last.account_id).exists():
            alerts.resolve(cause)


def _line(snapshot: Snapshot, backup: Backup) -> Event:
    return events.event(
        "snapshot_marked" if is_only_marked(snapshot) else "snapshot_deleted",
        backup=backup,
        snapshot=snapshot.aws_ref,
        resource=snapshot.resource_id,
    )


@transaction.atomic
def mark_vanished(backup_id: int, snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    """Somebody else has deleted these of a record; says which nobody had marked meanwhile."""
    backup = Backup.objects.select_for_update(no_key=True).filter(pk=backup_id).first()
    if backup is None:
        return []
    marked = []
    for snapshot in snapshots:
        this = Snapshot.objects.filter(pk=snapshot.pk, delete_requested_at=None)
        kept = this.exclude(status=SnapshotStatus.DELETED)
        if kept.update(status=SnapshotStatus.DELETED, deleted_at=clock.now()):
            ref, resource = snapshot.aws_ref, snapshot.resource_id
            events.log("snapshot_vanished", backup=backup, snapshot=ref, resource=resource)
            marked.append(snapshot)
    if marked:
        refs = ", ".join(snapshot.aws_ref for snapshot in marked)
        alert_vanished(marked[0].account, f"Last: {refs} of backup {backup_id}")
    settle_emptied(backup)
    return marked


def alert_vanished(account: Account | None, message: str) -> None:
    """Tell of snapshots of the account that somebody else has deleted."""
    if account is not None:
        alerts.raise_alert(
            vanished_cause(account),
            user=account.user,
            category=AlertCategory.BACKUP,
            title=f"Snapshots of account {account.name} were deleted by somebody else",
            message=message,
        )


def vanished_cause(account: Account) -> str:
    """The cause of alerts about snapshots that are gone: one for each account."""
    return f"vanished:account:{account.pk}"


def mark_refused(snapshot: Snapshot, operation: Operation) -> None:
    """AWS has refused the deletion for good; cleanup will ask again."""
    values: dict[str, Any] = {
        "snapshot": snapshot.aws_ref,
        "resource": snapshot.resource_id,
        "error": operation.error,
    }
    backup = snapshot.backup
    events.log("snapshot_not_deleted", backup=backup, record=backup.pk, **values)
    # AWS's words name the snapshot; what comes before them is the same for all.
    why, _, _ = operation.error.partition(": ")
    cleanup_log.tell("record_not_emptied", [backup.pk], why=why, **values)
    alerts.raise_alert(
        refusal_cause(snapshot),
        user=backup.user,
        category=AlertCategory.CLEANUP,
        title=f"Snapshots of account {snapshot.account_name} could not be deleted",
        message=f"Last: {snapshot.aws_ref} of backup {backup.pk}: {operation.error}",
        policy=backup.policy,
    )


def settle_emptied(backup: Backup) -> None:
    """Let the record say that nothing is left of it, or go if its owner has thrown it away.

    The caller has locked the row. What it shares with others says nothing of what is left of it,
    but has to be let go of before it goes.
    """
    if backup.phase != BackupPhase.CLOSED:
        return
    left = live_snapshots().filter(backup=backup)
    _settle_copies(backup)
    if left.exclude(collection__in=shared_collections()).exists():
        return
    cleanup_log.tell("record_emptied", [backup.pk])
    if backup.discarded_at is not None:
        if not live_snapshots(with_s3=True).filter(backup=backup).exists():
            backup.delete()
    elif backup.outcome in {BackupOutcome.SUCCEEDED, BackupOutcome.PARTIAL}:
        Backup.objects.filter(pk=backup.pk).update(outcome=BackupOutcome.DELETED)


def _settle_copies(backup: Backup) -> None:
    """Let the record say that none of its copies in other places, or in S3, is left."""
    elsewhere = [
        collection.name
        for driver in registry.drivers()
        for collection in driver.snapshot_collections
        if collection.is_copy
    ]
    for column, collections in (("dr_status", elsewhere), ("s3_status", archives())):
        copies = {"backup": backup, "collection__in": collections}
        if getattr(backup, column) not in _COPIED:
            continue
        if live_snapshots(with_s3=True).filter(**copies).exists():
            continue
        if Snapshot.objects.filter(**copies).exists():
            Backup.objects.filter(pk=backup.pk).update(**{column: CopyStatus.DELETED})


_COPIED = (CopyStatus.SUCCEEDED, CopyStatus.PARTIAL)


def refusal_cause(snapshot: Snapshot) -> str:
    """The cause of alerts about deletions that AWS refuses: one for each account."""
    return f"deletions:account:{snapshot.account_id}"
