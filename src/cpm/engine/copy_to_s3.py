"""Copying runs to S3: when one is copied, when its turn comes, and how that ends.

A run is copied when all its attempts are over, and its copies in other places are made. Its last
record has the copies in its charge, and all its records that have copies tell of them together.
The rules are in docs/design/copy-to-s3.md.
"""

from collections.abc import Iterator
from datetime import timedelta

from django.db import transaction
from django.db.models import F, QuerySet

from cpm.engine import (
    backup_alerts,
    bulk,
    deletions,
    dr,
    events,
    jobs,
    s3_copies,
    s3_progress,
    transitions,
)
from cpm.engine.copies import row_of, status_of
from cpm.engine.deleted import live_snapshots
from cpm.engine.queue import Overtaken
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupOutcome, CopyOutcome, CopyStatus
from cpm.models.events import Event
from cpm.models.policies import Policy
from cpm.models.repositories import S3Repository
from cpm.models.s3_copies import S3Copy, S3CopyPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.resources import registry

# A run is woken when something happens to its copies; this is when it looks whether it was
# forgotten, and tells how far it is.
IDLE = timedelta(minutes=1)
_ROWS_PER_INSERT = 500


def begin(backup: Backup, policy: Policy) -> None:
    """Have the run that ends with this backup copied, if that is due; the policy is locked."""
    repository = policy.s3_repository
    if backup.retry_at is not None or repository is None or not policy.s3_enabled:
        return
    is_due = policy.s3_successes % policy.s3_frequency == 0
    if backup.outcome == BackupOutcome.SUCCEEDED:
        # As for DR: what was protected in part is copied, but the next run still has to be.
        Policy.objects.filter(pk=policy.pk).update(s3_successes=F("s3_successes") + 1)
    copies = list(_wishes(backup, policy, repository)) if is_due else []
    if not copies:
        return
    Snapshot.objects.bulk_create([each.snapshot for each in copies], _ROWS_PER_INSERT)
    for each in copies:
        each.snapshot = each.snapshot  # it has an id only now
    S3Copy.objects.bulk_create(copies, _ROWS_PER_INSERT)
    marks = {"s3_status": CopyStatus.IN_PROGRESS, "s3_repository": repository}
    earlier = {each.snapshot.backup_id for each in copies} - {backup.pk}
    Backup.objects.filter(pk__in=earlier).update(**marks)
    transitions.change(backup, **marks, s3_due_at=clock.now())
    jobs.defer_s3([backup.pk])


@jobs.LOOK_AT_S3.runs
def look(backup_id: int) -> None:
    """Take the copies of a run that are due one step further."""
    due = Backup.objects.filter(pk=backup_id, s3_due_at__lte=clock.now())
    backup = bulk.one(due.select_related("policy__user", "user", "s3_repository"))
    if backup is None:
        return
    if backup.s3_started_at is None and not _start(backup):
        transitions.change(backup, s3_due_at=clock.now() + IDLE)
    elif _open(backup).exists():
        s3_progress.tell(backup)
        transitions.change(backup, s3_due_at=clock.now() + IDLE)
    else:
        _finish(backup)


@jobs.LOOK_AT_S3.gives_up
def give_up(backup_id: int) -> None:
    """End copies at which our own code fails again and again."""
    backup = Backup.objects.select_related("policy__user", "user").filter(pk=backup_id).first()
    if backup is not None and backup.s3_due_at is not None:
        error = "an error of the server, which its log describes"
        for copy in _open(backup).select_related("snapshot__backup"):
            s3_copies.fail(copy, error)
        _finish(backup)


def _wishes(backup: Backup, policy: Policy, repository: S3Repository) -> Iterator[S3Copy]:
    """A copy of every good snapshot of the run whose data can be read, and its row."""
    collections = {
        collection.name: collection.archived_as
        for driver in registry.drivers()
        for collection in driver.snapshot_collections
        if collection.archived_as
    }
    found = Snapshot.objects.filter(
        backup__run=backup.run,
        backup__discarded_at=None,
        collection__in=collections,
        status=SnapshotStatus.SUCCEEDED,
        delete_requested_at=None,
    ).exclude(account=None)
    # Locked, so that nobody deletes one before it is known to be needed.
    for original in found.select_for_update(of=("self",)).order_by("pk"):
        yield S3Copy(
            backup=backup,
            original=original,
            original_ref=original.aws_ref,
            original_region=original.region,
            taken_at=original.started_at,
            snapshot=row_of(
                original,
                collections[original.collection],
                repository.account,
                repository.aws_region,
                facts=original.facts,
            ),
            repository=repository,
            storage_class=policy.s3_storage_class,
            timeout_hours=policy.s3_timeout_hours,
            retry_count=policy.s3_retry_count,
            deletes_original=policy.s3_deletes_originals,
        )


@transaction.atomic
def _start(backup: Backup) -> bool:
    """Let the copies begin, if it is their turn; says whether it is."""
    if backup.policy_id is not None:
        Policy.objects.select_for_update(no_key=True).filter(pk=backup.policy_id).first()
    others = _copied(backup).exclude(s3_started_at=None)
    if backup.dr_status == CopyStatus.IN_PROGRESS or others.exists():
        _tell_waiting(backup)
        return False
    now = clock.now()
    transitions.change(backup, s3_started_at=now)
    copies = list(_open(backup))
    for copy in copies:
        copy.deadline_at = now + timedelta(hours=copy.timeout_hours)
        copy.due_at = now
    bulk.update(copies, ["deadline_at", "due_at"])
    jobs.defer_s3_copies([copy.pk for copy in copies])
    name = backup.s3_repository.name if backup.s3_repository else ""
    events.log("s3_started", backup=backup, copies=len(copies), repository=name)
    return True


def _copied(backup: Backup) -> QuerySet[Backup]:
    """The other runs of the policy that are being copied, or wait for it."""
    if backup.policy_id is None:
        return Backup.objects.none()
    rows = Backup.objects.filter(policy=backup.policy_id, s3_due_at__isnull=False)
    return rows.exclude(pk=backup.pk)


def _tell_waiting(backup: Backup) -> None:
    if not Event.objects.filter(backup=backup, code="s3_waits").exists():
        events.log("s3_waits", backup=backup)


def _open(backup: Backup) -> QuerySet[S3Copy]:
    return backup.s3_copies.exclude(phase=S3CopyPhase.CLOSED)


@transaction.atomic
def _finish(backup: Backup) -> None:
    """All copies are over: say how it went, and what follows."""
    if backup.policy_id is not None:
        Policy.objects.select_for_update(no_key=True).filter(pk=backup.policy_id).first()
    outcomes = list(backup.s3_copies.values_list("outcome", flat=True))
    status = status_of(outcomes)
    records = Backup.objects.filter(run=backup.run, s3_status=CopyStatus.IN_PROGRESS)
    finished = {"s3_status": status, "s3_finished_at": clock.now(), "s3_due_at": None}
    if not records.update(**finished, version=F("version") + 1):
        raise Overtaken(f"the copies of {backup} are finished already")
    good = outcomes.count(CopyOutcome.SUCCEEDED)
    failed = outcomes.count(CopyOutcome.FAILED)
    events.log(_CODES[status], backup=backup, copies=good, failed=failed)
    backup.refresh_from_db(fields=["s3_status", "s3_finished_at", "s3_due_at", "version"])
    backup_alerts.review_s3(backup)
    _give_up_originals(backup)
    dr.give_up_originals(backup)
    jobs.wake_s3(_copied(backup).filter(s3_started_at=None).values_list("pk", flat=True))
    if backup.policy_id is not None:
        jobs.defer_retention(backup.policy_id)


_CODES = {
    CopyStatus.NONE: "s3_nothing",
    CopyStatus.SUCCEEDED: "s3_succeeded",
    CopyStatus.PARTIAL: "s3_partial",
    CopyStatus.FAILED: "s3_failed",
}


def _give_up_originals(backup: Backup) -> None:
    """Have originals deleted that are not to be kept beside their copies in S3."""
    copied = backup.s3_copies.filter(deletes_original=True, outcome=CopyOutcome.SUCCEEDED)
    going = live_snapshots().filter(pk__in=copied.values("original"), delete_requested_at=None)
    deletions.give_up_originals(going, backup.user)
