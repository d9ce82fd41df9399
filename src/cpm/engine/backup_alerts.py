"""What a finished backup says about its policy that somebody should look at."""

from itertools import takewhile

from django.db.models import Count, QuerySet

from cpm.engine import alerts
from cpm.engine.planner import missing_cause
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, CopyStatus
from cpm.models.policies import Policy


def failed_cause(policy_id: int) -> str:
    """The cause of alerts about backups that fail."""
    return f"policy:{policy_id}:failed"


def dr_cause(policy_id: int) -> str:
    """The cause of alerts about copies in other places that fail."""
    return f"policy:{policy_id}:dr"


def s3_cause(policy_id: int) -> str:
    """The cause of alerts about copies in S3 that fail."""
    return f"policy:{policy_id}:s3"


def left_cause(policy_id: int) -> str:
    """The cause of alerts about what could not be taken back after copying."""
    return f"policy:{policy_id}:dr_left"


def unprotected_cause(policy_id: int) -> str:
    """The cause of alerts about policies that have had no full success for too long."""
    return f"policy:{policy_id}:no_success"


def review(backup: Backup, *, missing_targets: int) -> None:
    """Raise and resolve what follows from a backup that has just been closed."""
    policy = backup.policy
    if policy is None:
        return
    if not missing_targets:
        alerts.resolve(missing_cause(policy.pk))
    if backup.outcome == BackupOutcome.SUCCEEDED:
        alerts.resolve(failed_cause(policy.pk))
        if backup.dr_status == CopyStatus.NONE:
            alerts.resolve(unprotected_cause(policy.pk))
        return
    if _failures_in_a_row(policy) >= policy.alert_after_failures:
        _alert_failed(policy, backup)
    if _runs_without_success(policy) >= policy.generations:
        _alert_unprotected(policy)


def review_dr(backup: Backup, *, is_clean: bool) -> None:
    """Raise and resolve what follows from copies in other places that are over.

    They are not `is_clean` when something made or shared for them could not be taken back.
    """
    policy = backup.policy
    if policy is None:
        return
    if is_clean:
        alerts.resolve(left_cause(policy.pk))
    else:
        _alert_left(policy, backup)
    if backup.dr_status not in _FAILED_COPIES:
        alerts.resolve(dr_cause(policy.pk))
        if backup.outcome == BackupOutcome.SUCCEEDED:
            alerts.resolve(unprotected_cause(policy.pk))
        return
    _alert_copies(policy, backup, "DR", backup.dr_status, dr_cause(policy.pk))
    if _runs_without_success(policy) >= policy.generations:
        _alert_unprotected(policy)


def review_s3(backup: Backup) -> None:
    """Raise and resolve what follows from copies in S3 that are over."""
    policy = backup.policy
    if policy is None:
        return
    if backup.s3_status not in _FAILED_COPIES:
        alerts.resolve(s3_cause(policy.pk))
        return
    _alert_copies(policy, backup, "S3 copy", backup.s3_status, s3_cause(policy.pk))


def _alert_copies(policy: Policy, backup: Backup, what: str, status: str, cause: str) -> None:
    is_partial = status == CopyStatus.PARTIAL
    alerts.raise_alert(
        cause,
        user=policy.user,
        category=_CATEGORIES[what],
        severity=AlertSeverity.WARNING if is_partial else AlertSeverity.ERROR,
        title=f"{what} of policy {policy.name} {'partially ' if is_partial else ''}failed",
        message=f"See the log of backup {backup.pk}.",
        policy=policy,
    )


_CATEGORIES = {"DR": AlertCategory.DR, "S3 copy": AlertCategory.S3_COPY}


def _alert_left(policy: Policy, backup: Backup) -> None:
    alerts.raise_alert(
        left_cause(policy.pk),
        user=policy.user,
        category=AlertCategory.DR,
        severity=AlertSeverity.WARNING,
        title=f"DR of policy {policy.name} has left something behind",
        message="What was made or shared for the copies could not be taken back. Cleanup tries "
        f"again; see the log of backup {backup.pk}.",
        policy=policy,
    )


def _alert_failed(policy: Policy, backup: Backup) -> None:
    is_partial = backup.outcome == BackupOutcome.PARTIAL
    alerts.raise_alert(
        failed_cause(policy.pk),
        user=policy.user,
        category=AlertCategory.BACKUP,
        severity=AlertSeverity.WARNING if is_partial else AlertSeverity.ERROR,
        title=f"Backup of policy {policy.name} {'partially ' if is_partial else ''}failed",
        message=f"See the log of backup {backup.pk}.",
        policy=policy,
    )


def _alert_unprotected(policy: Policy) -> None:
    alerts.raise_alert(
        unprotected_cause(policy.pk),
        user=policy.user,
        category=AlertCategory.BACKUP,
        title=f"Policy {policy.name} has had no full success for {policy.generations} runs",
        message="Its generations are older than they should be.",
        policy=policy,
    )


def _failures_in_a_row(policy: Policy) -> int:
    """How many of the newest records, retries among them, were no full success."""
    outcomes = _closed(policy).values_list("outcome", flat=True)
    newest = outcomes[: policy.alert_after_failures]
    return sum(1 for _ in takewhile(_is_failure, newest))


def _runs_without_success(policy: Policy) -> int:
    """How many runs, with their retries, there were since the last full success."""
    successes = _closed(policy).exclude(outcome__in=_FAILURES).exclude(dr_status__in=_NOT_COPIED)
    last = successes.values_list("pk", flat=True).first() or 0
    later = _closed(policy).filter(pk__gt=last)
    return int(later.aggregate(runs=Count("run", distinct=True))["runs"])


def _closed(policy: Policy) -> QuerySet[Backup]:
    return Backup.objects.filter(policy=policy, phase=BackupPhase.CLOSED).order_by("-pk")


_FAILURES = (BackupOutcome.PARTIAL, BackupOutcome.FAILED)
_FAILED_COPIES = (CopyStatus.PARTIAL, CopyStatus.FAILED)
_NOT_COPIED = (CopyStatus.IN_PROGRESS, *_FAILED_COPIES)


def _is_failure(outcome: str) -> bool:
    return outcome in _FAILURES
