"""Takes backups from their first look to their record's last word, and repeats what failed."""

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

from cpm.engine import (
    backup_alerts,
    bulk,
    copy_to_s3,
    dr,
    events,
    jobs,
    planner,
    progress,
    protected,
    scripts,
    transitions,
)
from cpm.engine.progress import Tally
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, BackupTarget, Trigger
from cpm.models.operations import OperationPhase
from cpm.models.policies import Policy
from cpm.models.scripts import Hook

# A backup is woken when something happens to it; this is when it looks whether it was forgotten.
IDLE = timedelta(minutes=1)
# Waits for regions that cannot be reached grow with the time that has passed.
_SHORTEST_WAIT, _LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=5)


@jobs.LOOK_AT_BACKUP.runs
def look(backup_id: int) -> None:
    """Take a backup that is due one step further."""
    due = Backup.objects.filter(pk=backup_id, due_at__lte=clock.now())
    related = ("account__assume_from_account", "policy__user", "user")
    backup = bulk.one(due.select_related(*related))
    if backup is None or backup.phase == BackupPhase.CLOSED:
        return
    if backup.phase == BackupPhase.PLANNED:
        planner.begin(backup)
    wait = _go_on(backup)
    if wait is None:
        _settle(backup)
    else:
        transitions.change(backup, due_at=clock.now() + wait)


@jobs.LOOK_AT_BACKUP.gives_up
def give_up(backup_id: int) -> None:
    """Close a backup at which our own code fails again and again."""
    backup = Backup.objects.select_related("policy__user", "user").filter(pk=backup_id).first()
    if backup is not None and backup.phase != BackupPhase.CLOSED:
        backup.targets.filter(planned_at=None).update(error="an error of the server")
        _close(
            backup, progress.tally(backup), None, "an error of the server, which its log describes"
        )


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


def _go_on(backup: Backup) -> timedelta | None:
    """Do what comes next; says how long to wait for what comes then, None when all is over."""
    if not scripts.is_over(backup, Hook.BEFORE):
        return IDLE
    is_planned = planner.plan(backup)
    if scripts.may_go_on(backup) and not scripts.is_over(backup, Hook.AFTER):
        return IDLE
    if not is_planned:
        return _wait(backup.started_at)
    if backup.operations.exclude(phase=OperationPhase.CLOSED).exists():
        return IDLE
    return None if scripts.is_over(backup, Hook.COMPLETE) else IDLE


def _settle(backup: Backup) -> None:
    """All is over: say how it went, and what follows."""
    result = progress.tally(backup)
    _close(backup, result, _retry_at(backup, result), _reason(result))


def _retry_at(backup: Backup, result: Tally) -> datetime | None:
    policy = backup.policy
    if policy is None or result.outcome == BackupOutcome.SUCCEEDED:
        return None
    # What does not exist any longer cannot be repeated.
    can_be_repeated = progress.failed(backup).filter(is_missing=False).exists()
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
        policy = _locked_policy(backup)
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
            scripts=result.failed_scripts,
            reason=reason,
        )
        if retry_at is not None and backup.policy is not None:
            minutes = backup.policy.retry_wait_minutes
            events.log("backup_repeat_planned", backup=backup, minutes=minutes)
        protected.note(backup)
        scripts.let_go_on(backup)
        if policy is not None:
            dr.begin(backup, policy)
            copy_to_s3.begin(backup, policy)
        backup_alerts.review(backup, missing_targets=result.missing_targets)
        if backup.policy_id is not None:
            jobs.defer_retention(backup.policy_id)


def _locked_policy(backup: Backup) -> Policy | None:
    """The backup's policy if it wants copies, locked until the transaction ends.

    Whoever starts a backup locks the policy first, so who closes one must, too.
    """
    wants_copies = Policy.objects.filter(Q(dr_enabled=True) | Q(s3_enabled=True), backups=backup)
    policies = wants_copies.select_related("dr_account", "s3_repository__account")
    return policies.select_for_update(of=("self",), no_key=True).first()


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
            for target in progress.failed(failed).order_by("pk")
        ]
    )
    events.log("backup_repeats", backup=repeat, of=failed.pk, attempt=repeat.attempt)
    jobs.defer_backups([repeat.pk])


def _wait(started_at: datetime) -> timedelta:
    age = clock.now() - started_at
    return min(max(age / 2, _SHORTEST_WAIT), _LONGEST_WAIT)
