"""The one runner of effects: asks AWS for what an operation wants, once, whatever dies meanwhile.

`planned` -> `starting` is committed before AWS is asked. An operation found in `starting` may have
been carried out: after the settle time it is looked for by its token, and asked for again only if
nothing is found. The rules are in docs/design/reconciliation.md.
"""

import random
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from cpm.aws.sessions import Aws
from cpm.engine import (
    accounts,
    closing,
    identity,
    jobs,
    operation_log,
    transitions,
    turns,
    undoing,
)
from cpm.engine.effects import effect_of
from cpm.engine.queue import Overtaken
from cpm.kernel import clock
from cpm.kernel.faults import Fault, FaultKind
from cpm.models.operations import Operation, OperationOutcome, OperationPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.resources.contract import Ask, Effect, Once, Refs

# A shorter wait for the budget is slept through; for a longer one the row is put aside.
LONGEST_NAP_SECONDS = 1.0
# A longer wait for the budget is worth a line in the record's log.
WORTH_TELLING_SECONDS = 60.0
LONGEST_BACK_OFF_SECONDS = 300.0
# How often a follower looks whether it was forgotten; it is woken when its turn comes.
FOLLOWER_SECONDS = 60.0
# Rights may be about to change (keys are being rotated), and states pass: AWS is asked again, each
# time a minute later than the last.
REFUSALS = {FaultKind.DENIED: 3, FaultKind.LOCKED: 5}
REFUSAL_SECONDS = 60.0

# What most looks need; the rest is read by those who need it.
_RELATED = ("account", "backup", "snapshot")


@jobs.LOOK_AT_RECOVERY_STEP.runs
@jobs.LOOK_AT_SNAPSHOT.runs
@jobs.LOOK_AT_DELETION.runs
def look(operation_id: int) -> None:
    """Take an operation that is due one step further; a started one is for its watch."""
    due = Operation.objects.filter(pk=operation_id, due_at__lte=clock.now())
    # Not `first()`: to make SQL that puts one row in order takes longer than all the rest of it.
    operation = next(iter(due.select_related(*_RELATED)), None)
    if operation is None:
        return
    if operation.phase == OperationPhase.PLANNED:
        _begin(operation)
    elif operation.phase == OperationPhase.STARTING:
        _resume(operation)


@jobs.LOOK_AT_RECOVERY_STEP.gives_up
@jobs.LOOK_AT_SNAPSHOT.gives_up
@jobs.LOOK_AT_DELETION.gives_up
def give_up(operation_id: int) -> None:
    """Close an operation at which our own code fails again and again."""
    operation = Operation.objects.select_related(*_RELATED).filter(pk=operation_id).first()
    if operation is not None and operation.phase != OperationPhase.CLOSED:
        closing.fail(operation, "an error of the server, which its log describes")


def _begin(operation: Operation) -> None:
    if not _has_its_turn_in_the_chain(operation):
        return
    if operation.within_seconds is not None:
        deadline_at = min(operation.deadline_at, _in(operation.within_seconds))
        transitions.change(operation, deadline_at=deadline_at, within_seconds=None)
    if clock.now() >= operation.deadline_at:
        _give_up_at_the_deadline(operation)
        return
    if operation.waits_for_turn:
        # Nobody has called it up for long: see whether there is room after all.
        transitions.change(operation, due_at=_in(turns.FORGOTTEN.total_seconds()))
        turns.call_up(turns.queues_of([operation]))
        return
    try:
        aws = _aws(operation)
    except Fault as fault:
        _try_later(operation, fault)
        return
    if _has_its_turn_in_the_budget(operation, aws):
        _ask(operation, aws)


def _give_up_at_the_deadline(operation: Operation) -> None:
    error = f"given up at the deadline: {operation.error or 'it was not its turn in time'}"
    if operation.fault == FaultKind.UNKNOWN:
        error += f" (should AWS have done it, what it made carries token {operation.token})"
    closing.fail(operation, error, fault=operation.fault)


def _has_its_turn_in_the_chain(operation: Operation) -> bool:
    before = operation.after
    if before is None:
        return True
    if not _is_far_enough(before, operation):
        transitions.change(operation, due_at=_in(FOLLOWER_SECONDS))
        return False
    if operation.once == Once.DONE and before.outcome != OperationOutcome.SUCCEEDED:
        closing.cancel(operation, "an earlier step failed")
        return False
    return True


def _is_far_enough(before: Operation, operation: Operation) -> bool:
    if before.phase == OperationPhase.STARTED and operation.once == Once.UNDER_WAY:
        return True
    waited_for = _steps_before(operation) if operation.once == Once.OVER else [before]
    return all(step.phase == OperationPhase.CLOSED for step in waited_for)


def _has_its_turn_in_the_budget(operation: Operation, aws: Aws) -> bool:
    # What takes something back is another call than the effect's own; it waits as it is made.
    if operation.has_slot or operation.undoes_id is not None:
        return True
    name = effect_of(operation).operation
    wait_seconds = aws.cloud.budget.reserve(aws.account_number, aws.region, name)
    if wait_seconds <= LONGEST_NAP_SECONDS:
        clock.sleep(wait_seconds)
        return True
    if wait_seconds > WORTH_TELLING_SECONDS:
        operation_log.queued(operation, name, wait_seconds)
    transitions.change(operation, has_slot=True, due_at=_in(wait_seconds))
    return False


def _ask(operation: Operation, aws: Aws) -> None:
    """Commit that AWS is being asked, then ask, then write what came of it."""
    transitions.move(
        operation,
        OperationPhase.STARTING,
        asked_at=clock.now(),
        attempts=operation.attempts + 1,
        has_slot=False,
        due_at=_in(settings.ENVIRONMENT.settle_seconds),
    )
    effect = effect_of(operation)
    _still_ours(operation)
    try:
        refs = _start(operation, effect, aws.with_slot(effect.operation))
    except Fault as fault:
        _learn_from(operation, fault)
    else:
        _accept(operation, effect, refs)


def _still_ours(operation: Operation) -> None:
    """A worker that was frozen just now must not act on what it knew before."""
    if not Operation.objects.filter(pk=operation.pk, version=operation.version).exists():
        raise Overtaken(f"{operation} was taken over")


def _start(operation: Operation, effect: Effect, aws: Aws) -> Refs:
    if operation.undoes is None:
        return effect.start(aws, _question(operation))
    return undoing.take_back(operation, aws)


def _resume(operation: Operation) -> None:
    """AWS may have been asked already: find out, then go on as if nothing had happened."""
    effect = effect_of(operation)
    find = None if operation.undoes else effect.find
    settled_at = (operation.asked_at or clock.now()) + _seconds(settings.ENVIRONMENT.settle_seconds)
    if find is None:
        # Safe to repeat as it is.
        transitions.move(operation, OperationPhase.PLANNED, due_at=clock.now())
        _begin(operation)
        return
    if clock.now() < settled_at:
        transitions.change(operation, due_at=settled_at)
        return
    try:
        refs = find(_aws(operation), _question(operation))
    except Fault as fault:
        _search_later(operation, fault)
        return
    if refs is not None:
        _accept(operation, effect, refs)
    else:
        transitions.move(operation, OperationPhase.PLANNED, due_at=clock.now())
        _begin(operation)


def _accept(operation: Operation, effect: Effect, refs: Refs) -> None:
    """AWS works on it, or has done it."""
    with transaction.atomic():
        now = clock.now()
        if operation.snapshot_id is None and operation.recovery_id is None:
            _name_snapshots(operation, refs, is_done=not effect.watch)
        operation_log.accepted(operation, refs)
        watch = effect.watch if operation.undoes is None else effect.undo_watch
        if not watch or not refs:
            closing.succeed(operation, refs=refs, started_at=now)
            return
        transitions.move(
            operation,
            OperationPhase.STARTED,
            refs=refs,
            watch=watch,
            started_at=now,
            fault="",
            error="",
            due_at=_in(settings.ENVIRONMENT.poll_seconds),
        )
        closing.release_those_that_go_along(operation)
        if operation.backup is not None and operation.backup.runs_scripts:
            # It may wait for nothing but this.
            jobs.wake_backups([operation.backup.pk])


def _name_snapshots(operation: Operation, refs: Refs, *, is_done: bool) -> None:
    """Tell the snapshots what AWS calls them."""
    now = clock.now()
    known = {snapshot.resource_id: snapshot for snapshot in operation.snapshots.all()}
    if not known:
        return
    finished = {"status": SnapshotStatus.SUCCEEDED, "progress_percent": 100, "finished_at": now}
    for resource_id, ref in refs.items():
        snapshot = known.pop(resource_id, None) or _unexpected(operation, resource_id)
        Snapshot.objects.filter(pk=snapshot.pk).update(
            aws_ref=ref, started_at=now, **(finished if is_done else {})
        )
    for snapshot in known.values():
        Snapshot.objects.filter(pk=snapshot.pk).update(
            status=SnapshotStatus.FAILED, error="AWS made no snapshot of it", finished_at=now
        )


def _unexpected(operation: Operation, resource_id: str) -> Snapshot:
    """AWS made one more than was planned (a volume attached just now): it is ours all the same."""
    snapshot = operation.snapshots.all()[0]
    snapshot.pk, snapshot._state.adding = None, True  # noqa: SLF001 - Django's way to copy a row
    snapshot.resource_id = resource_id
    snapshot.resource_name, snapshot.volume_device, snapshot.size_gib = None, None, None
    snapshot.facts = {}
    snapshot.save(force_insert=True)
    return snapshot


def _learn_from(operation: Operation, fault: Fault) -> None:
    """AWS did not say yes."""
    if fault.effect_is_unknown:
        with transaction.atomic():
            operation_log.fault("answer_lost", operation, fault)
            transitions.change(operation, fault=fault.kind, error=str(fault))
    else:
        _try_later(operation, fault)


def _try_later(operation: Operation, fault: Fault) -> None:
    """Nothing was done: try again when that may help, else close the operation as failed."""
    refusals = operation.refusals + (fault.kind in REFUSALS)
    if fault.worth_another_try:
        wait_seconds = fault.retry_after_seconds or _back_off_seconds(operation.attempts)
        if fault.kind is FaultKind.QUOTA:
            operation_log.limited(operation, fault, wait_seconds)
    elif refusals < REFUSALS.get(fault.kind, 0):
        wait_seconds = refusals * REFUSAL_SECONDS
        operation_log.fault("call_refused", operation, fault)
    else:
        closing.fail(operation, str(fault), fault=fault.kind)
        return
    changes: Mapping[str, Any] = {
        "fault": fault.kind,
        "error": str(fault),
        "refusals": refusals,
        "due_at": min(_in(wait_seconds), max(operation.deadline_at, clock.now())),
    }
    if operation.phase == OperationPhase.PLANNED:
        transitions.change(operation, **changes)
    else:
        transitions.move(operation, OperationPhase.PLANNED, **changes)


def _search_later(operation: Operation, fault: Fault) -> None:
    """Whether AWS has done it cannot be seen now; only the deadline ends the search."""
    if clock.now() >= operation.deadline_at:
        error = f"it is not known whether AWS has done it (token {operation.token}): {fault}"
        closing.fail(operation, error, fault=fault.kind)
    else:
        transitions.change(
            operation,
            attempts=operation.attempts + 1,
            due_at=_in(_back_off_seconds(operation.attempts)),
        )


def _question(operation: Operation) -> Ask:
    earlier = list(_steps_before(operation))
    good = ("", OperationOutcome.SUCCEEDED)
    return Ask(
        spec=operation.spec,
        token=str(operation.token),
        marks=identity.marks(operation),
        earlier={step.step: step.refs for step in earlier},
        tokens={step.step: str(step.token) for step in earlier},
        failed=frozenset(step.step for step in earlier if step.outcome not in good),
        asked_at=operation.asked_at,
    )


def _steps_before(operation: Operation) -> Iterator[Operation]:
    """The steps of the chain that led to this one, the last first."""
    step = operation.after
    while step is not None:
        yield step
        step = step.after


def _aws(operation: Operation) -> Aws:
    aws = accounts.aws_of(operation.account, operation.region)
    return aws.on_behalf_of(f"operation-{operation.pk}")


def _back_off_seconds(attempts: int) -> float:
    longest = min(2.0 ** min(attempts, 10), LONGEST_BACK_OFF_SECONDS)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


def _in(seconds: float) -> datetime:
    return clock.now() + _seconds(seconds)


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)
