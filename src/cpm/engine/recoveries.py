"""Recoveries: chains of operations that bring a resource back, and are undone when they fail."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction

from cpm.engine import accounts, alerts, closing, events, jobs, orders, transitions, undoing
from cpm.engine.effects import effect_of
from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.backups import Backup
from cpm.models.operations import Operation, OperationOutcome, OperationPhase
from cpm.models.recoveries import Recovery, RecoveryOutcome, RecoveryPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.resources.contract import Driver, Json, Order, Source

# Restoring a large database takes hours.
DEADLINE = timedelta(hours=24)
# A recovery is woken when something happens to it; this is when it looks whether it was forgotten.
IDLE = timedelta(minutes=1)


class SnapshotGone(Exception):
    """A snapshot that the recovery needs was deleted, or is about to be; the text names it."""


@dataclass(frozen=True)
class Wish:
    """What is to be brought back, from which copies, into which account."""

    driver: Driver
    backup: Backup
    resource_id: str
    resource_name: str | None
    facts: Json
    snapshots: Sequence[Snapshot]
    # Where the copies are, and whose credentials are used.
    account: Account
    region: str
    # Of the driver's `recover_options`, and as they were asked for.
    options: Any
    asked: Json


def plan(wish: Wish) -> list[Order]:
    """The steps of a recovery. What can be seen to be wrong at once is found here.

    Raises OptionRefused and Fault.
    """
    if wish.driver.plan_recovery is None:
        raise LookupError(f"{wish.driver.kind} cannot be recovered")
    aws = accounts.aws_of(wish.account, wish.region)
    return wish.driver.plan_recovery(aws, _source(wish), wish.options)


@transaction.atomic
def start(wish: Wish, ordered: Sequence[Order]) -> Recovery:
    """Set a planned recovery going. Raises SnapshotGone."""
    _lock(wish.snapshots)
    recovery = _record(wish)
    recovery.snapshots.set(wish.snapshots)
    events.log(
        "recovery_started", recovery=recovery, resource=wish.resource_id, source=wish.backup.pk
    )
    for order in ordered:
        for note in order.notes:
            events.log("recovery_differs", recovery=recovery, note=note)
    place = orders.Place(wish.driver.kind, wish.account, wish.region)
    orders.place_recovery(place, recovery, ordered, deadline_at=clock.now() + DEADLINE)
    return recovery


def failed_cause(recovery: Recovery) -> str:
    """The cause of alerts about recoveries of a resource that fail."""
    return f"recovery:{recovery.user_id}:{recovery.resource_id}"


@jobs.LOOK_AT_RECOVERY.runs
def look(recovery_id: int) -> None:
    """Take a recovery that is due one step further."""
    due = Recovery.objects.filter(pk=recovery_id, due_at__lte=clock.now())
    recovery = due.select_related("user", "policy").first()
    if recovery is None or recovery.phase == RecoveryPhase.CLOSED:
        return
    steps = list(recovery.operations.select_related("account").order_by("pk"))
    is_over = all(step.phase == OperationPhase.CLOSED for step in steps)
    if is_over and not undoing.order(steps):
        _close(recovery, steps)
    else:
        transitions.change(recovery, due_at=clock.now() + IDLE)


@jobs.LOOK_AT_RECOVERY.gives_up
def give_up(recovery_id: int) -> None:
    """Close a recovery at which our own code fails again and again."""
    recovery = Recovery.objects.select_related("user", "policy").filter(pk=recovery_id).first()
    if recovery is not None and recovery.phase != RecoveryPhase.CLOSED:
        for step in recovery.operations.filter(phase=OperationPhase.PLANNED):
            closing.cancel(step, "the recovery was given up")
        recovery.refresh_from_db()
        _finish(recovery, RecoveryOutcome.FAILED, [], "an error of the server; see its log")


def _source(wish: Wish) -> Source:
    return Source(
        resource_id=wish.resource_id,
        resource_name=wish.resource_name,
        facts=wish.facts,
        copies=[orders.copied_of(snapshot) for snapshot in wish.snapshots],
        is_elsewhere=_is_elsewhere(wish),
    )


def _is_elsewhere(wish: Wish) -> bool:
    """Whether it comes back in another region or AWS account than the original's."""
    if any(snapshot.source_snapshot_id is not None for snapshot in wish.snapshots):
        return True
    original = wish.backup.account
    return original is not None and original.aws_account_number != wish.account.aws_account_number


def _lock(snapshots: Sequence[Snapshot]) -> None:
    """Make sure that nothing deletes the snapshots before they are known to be needed."""
    ids = [snapshot.pk for snapshot in snapshots]
    for snapshot in Snapshot.objects.select_for_update().filter(pk__in=ids).order_by("pk"):
        is_good = snapshot.status == SnapshotStatus.SUCCEEDED
        if not is_good or snapshot.delete_requested_at is not None:
            raise SnapshotGone(str(snapshot))


def _record(wish: Wish) -> Recovery:
    now = clock.now()
    return Recovery.objects.create(
        user=wish.backup.user,
        account=wish.account,
        account_name=wish.account.name,
        backup=wish.backup,
        policy=wish.backup.policy,
        policy_name=wish.backup.policy_name,
        kind=wish.driver.kind,
        recovery_type=wish.driver.recovery_type,
        resource_id=wish.resource_id,
        region=wish.region,
        options=wish.asked,
        backup_started_at=wish.backup.started_at,
        phase=RecoveryPhase.RUNNING,
        started_at=now,
        due_at=now + IDLE,
    )


def _close(recovery: Recovery, steps: Sequence[Operation]) -> None:
    """All is over: say how it went."""
    errors = [
        f"{step.effect}: {step.error}" for step in steps if step.outcome == OperationOutcome.FAILED
    ]
    results = [
        ref
        for step in steps
        if step.undoes_id is None and effect_of(step).makes_result
        for ref in step.refs.values()
    ]
    if undoing.has_failed(steps):
        _finish(recovery, RecoveryOutcome.FAILED, [], "; ".join(errors))
    elif errors:
        _finish(recovery, RecoveryOutcome.PARTIAL, results, "; ".join(errors))
    else:
        _finish(recovery, RecoveryOutcome.SUCCEEDED, results, "")


_CODES = {
    RecoveryOutcome.SUCCEEDED: "recovery_succeeded",
    RecoveryOutcome.PARTIAL: "recovery_partial",
    RecoveryOutcome.FAILED: "recovery_failed",
}


def _finish(recovery: Recovery, outcome: RecoveryOutcome, results: list[str], error: str) -> None:
    with transaction.atomic():
        transitions.move(
            recovery,
            RecoveryPhase.CLOSED,
            outcome=outcome,
            result_resource_ids=results,
            error=error,
            finished_at=clock.now(),
            due_at=None,
        )
        events.log(_CODES[outcome], recovery=recovery, result=", ".join(results), error=error)
        if outcome == RecoveryOutcome.SUCCEEDED:
            alerts.resolve(failed_cause(recovery))
        else:
            _alert(recovery, outcome, error)


def _alert(recovery: Recovery, outcome: RecoveryOutcome, error: str) -> None:
    is_partial = outcome == RecoveryOutcome.PARTIAL
    alerts.raise_alert(
        failed_cause(recovery),
        user=recovery.user,
        category=AlertCategory.RECOVERY,
        severity=AlertSeverity.WARNING if is_partial else AlertSeverity.ERROR,
        title=f"Recovery of {recovery.resource_id} {'partially ' if is_partial else ''}failed",
        message=f"Recovery {recovery.pk}: {error}",
        policy=recovery.policy,
    )
