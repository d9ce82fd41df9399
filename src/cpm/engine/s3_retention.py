"""Copies in S3 that go: by their own retention, or because somebody wants them away.

A wish to delete is in the row first; then the manifest is retired, and what nothing names any
longer is garbage (docs/design/archive-format.md).
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Greatest

from cpm.archive import writer
from cpm.archive.errors import ArchiveError, Locked, NotFound
from cpm.engine import (
    alerts,
    cleanup_log,
    deletions,
    events,
    repositories,
    s3_blocks,
    transitions,
)
from cpm.engine.deleted import archives, live_snapshots, mark_deleted
from cpm.engine.deletions import Choice
from cpm.kernel import clock, s3_retention
from cpm.kernel.faults import Fault
from cpm.kernel.s3_retention import Copied, Keep
from cpm.models.alerts import AlertCategory
from cpm.models.backups import Backup, CopyStatus
from cpm.models.policies import Policy
from cpm.models.repositories import S3Repository
from cpm.models.s3_copies import S3Copy
from cpm.models.snapshots import Snapshot, SnapshotStatus

_PASSES_IN = timedelta(minutes=1)


def apply(policy: Policy) -> int:
    """Have the copies deleted that the policy does not keep any longer; says how many."""
    keep = Keep(policy.s3_keep_generations, policy.s3_keep_duration, policy.s3_keep_duration_unit)
    if keep.generations is None and keep.duration is None:
        return 0
    copies = live_snapshots(with_s3=True).filter(
        collection__in=archives(), delete_requested_at=None
    )
    records = Backup.objects.filter(Exists(copies.filter(backup=OuterRef("pk"))), policy=policy)
    copied = [
        Copied(
            id=each.pk,
            run=each.run,
            started_at=each.started_at,
            is_whole=each.s3_status == CopyStatus.SUCCEEDED,
            is_frozen=each.is_frozen,
            is_in_progress=each.s3_status == CopyStatus.IN_PROGRESS,
        )
        for each in records.filter(discarded_at=None)
    ]
    going = copies.filter(backup__in=s3_retention.expired(copied, keep, clock.now()))
    if keep.duration is not None and going.exists():
        try:
            now = min(clock.now(), _now_by_s3(going))
        except (ArchiveError, Fault) as error:
            why = f"it is not known what time it is in S3: {error}"
            cleanup_log.tell("record_needed", _records(going), why="time", reason=why)
            return 0
        going = copies.filter(backup__in=s3_retention.expired(copied, keep, now))
    return _give_up(policy, deletions.choose(going))


def _records(copies: QuerySet[Snapshot]) -> list[int]:
    return list(copies.values_list("backup", flat=True).distinct())


def _now_by_s3(going: QuerySet[Snapshot]) -> datetime:
    """The time in a repository that has such copies: our own clock may be wrong by any amount."""
    related = "repository__account__assume_from_account"
    copy = S3Copy.objects.filter(snapshot__in=going).select_related(related).earliest("pk")
    return repositories.open_archive(copy.repository).store.now()


@transaction.atomic
def _give_up(policy: Policy, choices: Sequence[Choice]) -> int:
    for choice in choices:
        if choice.kept_because is None:
            snapshot = choice.snapshot
            ref, resource = snapshot.aws_ref, snapshot.resource_id
            events.log("s3_copy_expired", backup=snapshot.backup, snapshot=ref, resource=resource)
    why = f"beyond what policy {policy.name} keeps in S3"
    return deletions.give_up(choices, policy.user, why)


def retire(copy: S3Copy) -> None:
    """Take a copy that is wanted away out of its archive. May be repeated at any point."""
    snapshot = copy.snapshot
    if snapshot.delete_requested_at is None or snapshot.status == SnapshotStatus.DELETED:
        transitions.change(copy, due_at=None)
        return
    try:
        _retire(copy)
    except Locked:
        # Nothing is wrong: cleanup asks again, until the lock has ended.
        transitions.change(copy, due_at=None)
    except (ArchiveError, Fault) as error:
        _refuse(copy, error)
    else:
        _forget(copy)


def _retire(copy: S3Copy) -> None:
    opened = repositories.open_archive(copy.repository)
    # An earlier attempt may have come so far.
    with suppress(NotFound):
        writer.retire(opened, copy.snapshot.aws_ref)
    s3_blocks.hand_on(opened, copy)


@transaction.atomic
def _forget(copy: S3Copy) -> None:
    transitions.change(copy, due_at=None)
    repository = S3Repository.objects.filter(pk=copy.repository_id)
    repository.update(size_bytes=Greatest(F("size_bytes") - copy.size_bytes, 0))
    alerts.resolve(_cause(copy))
    mark_deleted([copy.snapshot_id])


def _refuse(copy: S3Copy, error: ArchiveError | Fault) -> None:
    """Come back when it may work; what somebody has to look at is cleanup's to try again."""
    if isinstance(error, Fault) and error.worth_another_try:
        transitions.change(copy, due_at=clock.now() + _PASSES_IN)
        return
    with transaction.atomic():
        transitions.change(copy, due_at=None)
        snapshot = copy.snapshot
        events.log(
            "snapshot_not_deleted",
            backup=snapshot.backup,
            record=snapshot.backup_id,
            snapshot=snapshot.aws_ref,
            resource=snapshot.resource_id,
            error=str(error),
        )
        alerts.raise_alert(
            _cause(copy),
            user=snapshot.backup.user,
            category=AlertCategory.CLEANUP,
            title=f"Copies in S3 repository {copy.repository.name} could not be deleted",
            message=f"Last: {snapshot.aws_ref} of backup {snapshot.backup_id}: {error}",
            policy=snapshot.backup.policy,
        )


def _cause(copy: S3Copy) -> str:
    return f"s3_deletions:repository:{copy.repository_id}"
