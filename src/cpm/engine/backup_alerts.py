"""What a finished backup says about its policy that somebody should look at."""

from itertools import takewhile

from django.db.models import Count, QuerySet

from cpm.engine import alerts
from cpm.engine.planner import missing_cause
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.backups import Backup, BackupOutcome, BackupPhase
from cpm.models.policies import Policy


def failed_cause(policy_id: int) -> str:
    """The cause of alerts about backups that fail."""
    return f"policy:{policy_id}:failed"


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
        alerts.resolve(failed_cause(policy.pk), unprotected_cause(policy.pk))
        return
    if _failures_in_a_row(policy) >= policy.alert_after_failures:
        _alert_failed(policy, backup)
    if _runs_without_success(policy) >= policy.generations:
        _alert_unprotected(policy)


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
    successes = _closed(policy).exclude(outcome__in=_FAILURES)
    last = successes.values_list("pk", flat=True).first() or 0
    later = _closed(policy).filter(pk__gt=last)
    return int(later.aggregate(runs=Count("run", distinct=True))["runs"])


def _closed(policy: Policy) -> QuerySet[Backup]:
    return Backup.objects.filter(policy=policy, phase=BackupPhase.CLOSED).order_by("-pk")


_FAILURES = (BackupOutcome.PARTIAL, BackupOutcome.FAILED)


def _is_failure(outcome: str) -> bool:
    return outcome in _FAILURES
