"""Recoveries: chains of operations that bring a resource back, and are undone when they fail."""

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction

from cpm.engine import (
    accounts,
    alerts,
    archived,
    bulk,
    events,
    jobs,
    orders,
    restores,
    transitions,
    undoing,
)
from cpm.engine.archived import Hopeless, Planned, Terms
from cpm.engine.effects import effect_of
from cpm.engine.wishes import Wish, source_of
from cpm.kernel import clock
from cpm.kernel.faults import Fault
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.operations import Operation, OperationOutcome, OperationPhase
from cpm.models.recoveries import Recovery, RecoveryOutcome, RecoveryPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.resources import restored_snapshots
from cpm.resources.contract import OptionRefused, Order

# The type of recoveries from S3, whatever comes back.
FROM_S3 = "S"
# Restoring a large database takes hours.
DEADLINE = timedelta(hours=24)
# A recovery is woken when something happens to it; this is when it looks whether it was forgotten.
IDLE = timedelta(minutes=1)


class SnapshotGone(Exception):
    """A snapshot that the recovery needs was deleted, or is about to be; the text names it."""


def plan(wish: Wish) -> list[Order]:
    """The steps of a recovery. What can be seen to be wrong at once is found here.

    Raises OptionRefused and Fault.
    """
    if wish.driver.plan_recovery is None:
        raise LookupError(f"{wish.driver.kind} cannot be recovered")
    aws = accounts.aws_of(wish.account, wish.region)
    return wish.driver.plan_recovery(aws, source_of(wish), wish.options)


@transaction.atomic
def start(wish: Wish, ordered: Sequence[Order]) -> Recovery:
    """Set a planned recovery going. Raises SnapshotGone."""
    recovery = _record(wish, wish.driver.recovery_type, RecoveryPhase.RUNNING)
    _place(recovery, ordered)
    return recovery


@transaction.atomic
def start_from_s3(wish: Wish, planned: Sequence[Planned]) -> Recovery:
    """Set a recovery going whose snapshots have to be restored first. Raises SnapshotGone."""
    recovery = _record(wish, FROM_S3, RecoveryPhase.PLANNED)
    for each in planned:
        _tell_notes(recovery, [each.restore.order])
    restores.place(recovery, planned)
    return recovery


def failed_cause(recovery: Recovery) -> str:
    """The cause of alerts about recoveries of a resource that fail."""
    return f"recovery:{recovery.user_id}:{recovery.resource_id}"


@jobs.LOOK_AT_RECOVERY.runs
def look(recovery_id: int) -> None:
    """Take a recovery that is due one step further."""
    due = Recovery.objects.filter(pk=recovery_id, due_at__lte=clock.now())
    recovery = bulk.one(due.select_related("user", "policy", "account", "backup__account"))
    if recovery is None or recovery.phase == RecoveryPhase.CLOSED:
        return
    is_begun = recovery.phase == RecoveryPhase.RUNNING or recovery.error or _restore(recovery)
    steps = list(recovery.operations.select_related("account").order_by("pk"))
    is_over = is_begun and all(step.phase == OperationPhase.CLOSED for step in steps)
    if is_over and not undoing.order(steps, in_vain=bool(recovery.error)):
        _close(recovery, steps)
    else:
        transitions.change(recovery, due_at=clock.now() + IDLE)


@jobs.LOOK_AT_RECOVERY.gives_up
def give_up(recovery_id: int) -> None:
    """Close a recovery at which our own code fails again and again."""
    recovery = Recovery.objects.select_related("user", "policy").filter(pk=recovery_id).first()
    if recovery is not None and recovery.phase != RecoveryPhase.CLOSED:
        restores.stop(recovery)
        recovery.refresh_from_db()
        _finish(recovery, RecoveryOutcome.FAILED, [], "an error of the server; see its log")


def _restore(recovery: Recovery) -> bool:
    """Restore what a recovery needs, and have the driver begin; False while there is more to come.

    One that is hopeless gets its error, by which it is taken back.
    """
    try:
        if not restores.advance(recovery):
            return False
        if not Terms.of(recovery.options).as_snapshot:
            _place_what_follows(recovery)
    except (Hopeless, OptionRefused) as reason:
        _despair(recovery, str(reason))
    except Fault as fault:
        if fault.worth_another_try:
            events.log("recovery_delayed", recovery=recovery, error=str(fault))
            return False
        _despair(recovery, str(fault))
    return True


def _place_what_follows(recovery: Recovery) -> None:
    """The snapshots are there: what is made of them is planned as of any others."""
    wish = archived.wish_of(recovery)
    plan_recovery = wish.driver.plan_recovery
    if plan_recovery is None:
        raise LookupError(f"{wish.driver.kind} cannot be recovered")
    aws = accounts.aws_of(wish.account, wish.region)
    ordered = plan_recovery(aws, source_of(wish, archived.copies_of(recovery)), wish.options)
    with transaction.atomic():
        transitions.move(recovery, RecoveryPhase.RUNNING)
        _place(recovery, ordered)


def _despair(recovery: Recovery, error: str) -> None:
    with transaction.atomic():
        transitions.change(recovery, error=error)
        restores.stop(recovery)
    recovery.refresh_from_db()


def _place(recovery: Recovery, ordered: Sequence[Order]) -> None:
    _tell_notes(recovery, ordered)
    place = orders.Place(recovery.kind, recovery.account, recovery.region)
    orders.place_recovery(place, recovery, ordered, deadline_at=clock.now() + DEADLINE)


def _tell_notes(recovery: Recovery, ordered: Sequence[Order]) -> None:
    for order in ordered:
        for note in order.notes:
            events.log("recovery_differs", recovery=recovery, note=note)


def _lock(snapshots: Sequence[Snapshot]) -> None:
    """Make sure that nothing deletes the snapshots before they are known to be needed."""
    ids = [snapshot.pk for snapshot in snapshots]
    for snapshot in Snapshot.objects.select_for_update().filter(pk__in=ids).order_by("pk"):
        is_good = snapshot.status == SnapshotStatus.SUCCEEDED
        if not is_good or snapshot.delete_requested_at is not None:
            raise SnapshotGone(str(snapshot))


def _record(wish: Wish, recovery_type: str, phase: RecoveryPhase) -> Recovery:
    _lock(wish.snapshots)
    now = clock.now()
    recovery = Recovery.objects.create(
        user=wish.backup.user,
        account=wish.account,
        account_name=wish.account.name,
        backup=wish.backup,
        policy=wish.backup.policy,
        policy_name=wish.backup.policy_name,
        kind=wish.driver.kind,
        recovery_type=recovery_type,
        resource_id=wish.resource_id,
        region=wish.region,
        options=wish.asked,
        backup_started_at=wish.backup.started_at,
        phase=phase,
        started_at=now,
        due_at=now + IDLE,
    )
    recovery.snapshots.set(wish.snapshots)
    events.log(
        "recovery_started", recovery=recovery, resource=wish.resource_id, source=wish.backup.pk
    )
    return recovery


def _close(recovery: Recovery, steps: Sequence[Operation]) -> None:
    """All is over: say how it went."""
    errors = [
        f"{step.effect}: {step.error}" for step in steps if step.outcome == OperationOutcome.FAILED
    ]
    errors += restores.losses(recovery)
    if recovery.error or undoing.has_failed(steps):
        _finish(recovery, RecoveryOutcome.FAILED, [], recovery.error or "; ".join(errors))
        return
    results = [
        ref
        # What was made of a snapshot comes before that, where it stays.
        for step in sorted(steps, key=lambda step: step.effect == restored_snapshots.RESTORE.name)
        if step.undoes_id is None and effect_of(step).makes_result
        for ref in step.refs.values()
    ]
    if errors:
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
