"""Takes backups from their first look to their record's last word, and repeats what failed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet

from cpm.engine import backup_alerts, events, jobs, planner, protected, transitions
from cpm.engine.deleted import shared_collections
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, BackupTarget, Trigger
from cpm.models.operations import OperationPhase
from cpm.models.snapshots import SnapshotStatus

# A backup is woken when something happens to it; this is when it looks whether it was forgotten.
IDLE = timedelta(minutes=1)
# Waits for regions that cannot be reached grow with the time that has passed.
_SHORTEST_WAIT, _LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=5)


@dataclass(frozen=True)
class Tally:
    """What a backup has come to."""

    snapshots: int
    failed_targets: int
    missing_targets: int
    targets: int

    @property
    def outcome(self) -> BackupOutcome:
        """The verdict. A run that protected nothing would push out a generation that did."""
        if not self.snapshots:
            return BackupOutcome.FAILED
        return BackupOutcome.PARTIAL if self.failed_targets else BackupOutcome.SUCCEEDED


@jobs.LOOK_AT_BACKUP.runs
def look(backup_id: int) -> None:
    """Take a backup that is due one step further."""
    due = Backup.objects.filter(pk=backup_id, due_at__lte=clock.now())
    backup = due.select_related("account__assume_from_account", "policy__user", "user").first()
    if backup is None or backup.phase == BackupPhase.CLOSED:
        return
    if backup.phase == BackupPhase.PLANNED:
        planner.begin(backup)
    if not planner.plan(backup):
        transitions.change(backup, due_at=clock.now() + _wait(backup.started_at))
    elif backup.operations.exclude(phase=OperationPhase.CLOSED).exists():
        transitions.change(backup, due_at=clock.now() + IDLE)
    else:
        _settle(backup)


@jobs.LOOK_AT_BACKUP.gives_up
def give_up(backup_id: int) -> None:
    """Close a backup at which our own code fails again and again."""
    backup = Backup.objects.select_related("policy__user", "user").filter(pk=backup_id).first()
    if backup is not None and backup.phase != BackupPhase.CLOSED:
        backup.targets.filter(planned_at=None).update(error="an error of the server")
        _close(backup, tally(backup), None, "an error of the server, which its log describes")


@jobs.RETRY_BACKUP.runs
def retry(backup_id: int) -> None:
    """Repeat what failed in a closed backup, unless a newer run has made that pointless."""
    due = Backup.objects.filter(pk=backup_id, retry_at__lte=clock.now())
    failed = due.select_related("policy").first()
    if failed is None:
        return
    newer = Backup.objects.filter(policy=failed.policy, pk__gt=failed.pk).exclude(run=failed.run)
    try:
        with transaction.atomic():
            still_due = Backup.objects.filter(pk=failed.pk, retry_at=failed.retry_at)
            if not still_due.update(retry_at=None):
                return
            if failed.policy is None or newer.exists():
                events.log("backup_repeat_dropped", backup=failed)
            else:
                _repeat(failed)
    except IntegrityError:
        # An older run of the policy is still open; look again when it may be over.
        Backup.objects.filter(pk=failed.pk).update(retry_at=clock.now() + IDLE)


def tally(backup: Backup) -> Tally:
    """Count what was protected and what was not."""
    # What records share is no copy of what the target is now.
    succeeded = Q(snapshots__status=SnapshotStatus.SUCCEEDED)
    good = Count("snapshots", filter=succeeded & ~Q(snapshots__collection__in=shared_collections()))
    targets = backup.targets.annotate(good=good)
    counted = list(targets.values_list("pk", "good", "is_missing"))
    return Tally(
        snapshots=sum(good for _, good, _ in counted),
        failed_targets=_failed(backup).count(),
        missing_targets=sum(missing for _, _, missing in counted),
        targets=len(counted),
    )


def _failed(backup: Backup) -> QuerySet[BackupTarget]:
    """The targets that are not protected as they should be."""
    not_good = Q(snapshots__status=SnapshotStatus.FAILED)
    return backup.targets.filter(~Q(error="") | not_good).distinct()


def _settle(backup: Backup) -> None:
    """All is over: say how it went, and what follows."""
    result = tally(backup)
    _close(backup, result, _retry_at(backup, result), _reason(result))


def _retry_at(backup: Backup, result: Tally) -> datetime | None:
    policy = backup.policy
    if policy is None or result.outcome == BackupOutcome.SUCCEEDED:
        return None
    # What does not exist any longer cannot be repeated.
    can_be_repeated = _failed(backup).filter(is_missing=False).exists()
    if not can_be_repeated or backup.attempt >= policy.retry_count:
        return None
    return clock.now() + timedelta(minutes=policy.retry_wait_minutes)


def _reason(result: Tally) -> str:
    if not result.targets:
        return "the policy has no targets"
    if result.missing_targets == result.targets:
        return "none of its resources exists any longer"
    return "nothing was protected"


def _close(backup: Backup, result: Tally, retry_at: datetime | None, reason: str) -> None:
    with transaction.atomic():
        transitions.move(
            backup,
            BackupPhase.CLOSED,
            outcome=result.outcome,
            finished_at=clock.now(),
            due_at=None,
            retry_at=retry_at,
        )
        events.log(
            _CODES[result.outcome],
            backup=backup,
            snapshots=result.snapshots,
            failed=result.failed_targets,
            reason=reason,
        )
        if retry_at is not None and backup.policy is not None:
            minutes = backup.policy.retry_wait_minutes
            events.log("backup_repeat_planned", backup=backup, minutes=minutes)
        protected.note(backup)
        backup_alerts.review(backup, missing_targets=result.missing_targets)
        if backup.policy_id is not None:
            jobs.defer_retention(backup.policy_id)


_CODES = {
    BackupOutcome.SUCCEEDED: "backup_succeeded",
    BackupOutcome.PARTIAL: "backup_partial",
    BackupOutcome.FAILED: "backup_failed",
}


def _repeat(failed: Backup) -> None:
    """Make the next record of the run. Raises IntegrityError while another backup is open."""
    now = clock.now()
    repeat = Backup.objects.create(
        user=failed.user,
        account=failed.account,
        account_name=failed.account_name,
        policy=failed.policy,
        policy_name=failed.policy_name,
        schedule_name=failed.schedule_name,
        trigger=Trigger.RETRY,
        scheduled_at=failed.scheduled_at,
        run=failed.run,
        attempt=failed.attempt + 1,
        started_at=now,
        due_at=now,
    )
    BackupTarget.objects.bulk_create(
        [
            BackupTarget(
                backup=repeat,
                kind=target.kind,
                resource_id=target.resource_id,
                resource_name=target.resource_name,
                region=target.region,
                options=target.options,
            )
            # What is missing comes along: a run is not complete while something is left out.
            for target in _failed(failed).order_by("pk")
        ]
    )
    events.log("backup_repeats", backup=repeat, of=failed.pk, attempt=repeat.attempt)
    jobs.defer_backups([repeat.pk])


def _wait(started_at: datetime) -> timedelta:
    age = clock.now() - started_at
    return min(max(age / 2, _SHORTEST_WAIT), _LONGEST_WAIT)
