"""How an operation ends, and what follows from that for snapshots, followers and records."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet

from cpm.engine import deleted, events, jobs, transitions, turns
from cpm.kernel import clock
from cpm.models.operations import Operation, OperationOutcome, OperationPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.resources.contract import Once


def succeed_all(operations: Sequence[Operation], names: Sequence[str] = (), **changes: Any) -> None:
    """Close operations that are held as done, with other changes as `transitions.move_all` does."""
    if not operations:
        return
    transitions.move_all(
        operations,
        OperationPhase.CLOSED,
        names,
        **changes,
        outcome=OperationOutcome.SUCCEEDED,
        progress_percent=100,
        finished_at=clock.now(),
        due_at=None,
    )
    _follow_success(operations)


def fail(operation: Operation, error: str, *, fault: str = "") -> None:
    """Close an operation as failed for good."""
    _end(operation, OperationOutcome.FAILED, error, fault)


def cancel(operation: Operation, error: str) -> None:
    """Close an operation that is not worth starting any more."""
    _end(operation, OperationOutcome.CANCELLED, error, "")


def release_those_that_go_along(operations: Iterable[Operation]) -> None:
    """Wake what follows as soon as AWS works on the step before it."""
    chained = [operation for operation in operations if operation.is_chained]
    if chained:
        _release(Operation.objects.filter(after__in=chained, once=Once.UNDER_WAY))


def _end(operation: Operation, outcome: OperationOutcome, error: str, fault: str) -> None:
    with transaction.atomic():
        transitions.move(
            operation,
            OperationPhase.CLOSED,
            outcome=outcome,
            error=error,
            fault=fault,
            finished_at=clock.now(),
            due_at=None,
        )
        _follow_failure(operation)
        for follower in operation.followers.filter(phase=OperationPhase.PLANNED, once=Once.DONE):
            cancel(follower, "an earlier step failed")
        _release_followers([operation])
        _tell_owners([operation])


def _follow_success(operations: Sequence[Operation]) -> None:
    going = [each.snapshot_id for each in operations if each.snapshot_id is not None]
    if going:
        deleted.mark_deleted(going)
    for operation in operations:
        if operation.undoes is not None:
            events.log(
                "step_undone",
                backup=operation.backup,
                recovery=operation.recovery,
                refs=_listed(operation.undoes.refs),
                effect=operation.effect,
            )
    _release_followers(operations)
    _tell_owners(operations)


def _follow_failure(operation: Operation) -> None:
    if operation.snapshot is not None:
        deleted.mark_refused(operation.snapshot, operation)
    elif operation.snapshots.exists():
        _fail_snapshots(operation)
    else:
        _log_failed_step(operation)


def _fail_snapshots(operation: Operation) -> None:
    """What is not known to be good by now never will be."""
    unfinished = operation.snapshots.filter(status=SnapshotStatus.IN_PROGRESS)
    unfinished.filter(error="").update(error=operation.error)
    unfinished.update(status=SnapshotStatus.FAILED, finished_at=clock.now())
    if operation.dr_copy_id is not None:
        return  # why a copy has failed is said when the whole chain is over
    failed: Iterable[Snapshot] = operation.snapshots.filter(status=SnapshotStatus.FAILED)
    for snapshot in failed:
        events.log(
            "snapshot_failed",
            backup=operation.backup,
            resource=snapshot.resource_id,
            error=snapshot.error,
        )


def _log_failed_step(operation: Operation) -> None:
    if operation.undoes is not None:
        events.log(
            "step_not_undone",
            backup=operation.backup,
            recovery=operation.recovery,
            refs=_listed(operation.undoes.refs),
            effect=operation.effect,
            error=operation.error,
        )
    elif operation.outcome == OperationOutcome.FAILED:
        events.log(
            "step_failed",
            backup=operation.backup,
            recovery=operation.recovery,
            resource=operation.resource_id,
            effect=operation.effect,
            error=operation.error,
        )


def _release_followers(operations: Sequence[Operation]) -> None:
    chained = [operation for operation in operations if operation.is_chained]
    followers = Operation.objects.filter(after__in=chained)
    if chained:
        _release(followers)
    in_line = followers.filter(waits_for_turn=True) if chained else ()
    queues = turns.queues_of([*operations, *in_line])
    if queues:
        turns.call_up(queues)
    if chained:
        # The last of what they wait for may be over only now.
        _release(Operation.objects.filter(after__after__in=chained, once=Once.OVER))


def _release(followers: QuerySet[Operation]) -> None:
    waiting = followers.filter(phase=OperationPhase.PLANNED, waits_for_turn=False)
    if waiting.update(due_at=clock.now(), version=F("version") + 1):
        jobs.defer_operations(waiting)


def _tell_owners(operations: Sequence[Operation]) -> None:
    jobs.wake_dr({each.dr_copy_id for each in operations if each.dr_copy_id is not None})
    backups = (each.backup_id for each in operations if each.dr_copy_id is None)
    jobs.wake_backups({backup_id for backup_id in backups if backup_id is not None})
    for recovery_id in {each.recovery_id for each in operations if each.recovery_id is not None}:
        jobs.wake_recovery(recovery_id)


def _listed(refs: dict[str, str]) -> str:
    return ", ".join(refs.values())
