"""The one runner of effects: asks AWS for what an operation wants, once, whatever dies meanwhile.

`planned` -> `starting` is committed before AWS is asked. An operation found in `starting` may have
been carried out: after the settle time it is looked for by its token, and asked for again only if
nothing is found. The rules are in docs/design/reconciliation.md.
"""

import random
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from cpm.aws.sessions import Aws
from cpm.engine import (
    accepting,
    accounts,
    closing,
    identity,
    jobs,
    operation_log,
    queue,
    slots,
    transitions,
    turns,
    undoing,
)
from cpm.engine.accepting import Answer
from cpm.engine.effects import effect_of
from cpm.engine.several import Several
from cpm.kernel import clock
from cpm.kernel.faults import Fault, FaultKind
from cpm.models.operations import Operation, OperationOutcome, OperationPhase
from cpm.resources.contract import Ask, Effect, Once, Refs

LONGEST_BACK_OFF_SECONDS = 300.0
# How often a follower looks whether it was forgotten; it is woken when its turn comes.
FOLLOWER_SECONDS = 60.0
# Rights may be about to change (keys are being rotated), and states pass: AWS is asked again, each
# time a minute later than the last.
REFUSALS = {FaultKind.DENIED: 3, FaultKind.LOCKED: 5}
REFUSAL_SECONDS = 60.0

# A claim that is older than this part of the settle time is renewed before AWS is asked.
FRESH = 0.1
# What most looks need; the rest is read by those who need it.
_RELATED = ("account", "backup")


@jobs.LOOK_AT_RECOVERY_STEP.runs
@jobs.LOOK_AT_SNAPSHOT.runs
@jobs.LOOK_AT_DR_STEP.runs
@jobs.LOOK_AT_DELETION.runs
def look(first_id: int, count: int) -> None:
    """Take each of neighbouring operations that is due one step further.

    Those of their chains that become due by that are looked at as well; started ones are for their
    watches.
    """
    several, seen = Several(), set[int]()
    while due := [each for each in _due(first_id, count) if each.pk not in seen]:
        seen.update(operation.pk for operation in due)
        _look_at(due, several)
        if not any(operation.is_chained for operation in due):
            break
    several.end()


@jobs.LOOK_AT_RECOVERY_STEP.gives_up
@jobs.LOOK_AT_SNAPSHOT.gives_up
@jobs.LOOK_AT_DR_STEP.gives_up
@jobs.LOOK_AT_DELETION.gives_up
def give_up(first_id: int, count: int) -> None:
    """Close those of the operations at which our own code fails again and again."""
    for operation in _due(first_id, count):
        several = Several()
        _look_at([operation], several)
        if several.has_failed:
            operation.refresh_from_db()
            closing.fail(operation, "an error of the server, which its log describes")


def _due(first_id: int, count: int) -> Sequence[Operation]:
    """Those that are due; of those that have their turns in the budget, also whose turn is near."""
    rows = Operation.objects.filter(
        Q(due_at__lte=clock.now()) | Q(due_at__lte=_in(slots.LONGEST_NAP_SECONDS), has_slot=True),
        pk__range=(first_id, first_id + count - 1),
        phase__in=[OperationPhase.PLANNED, OperationPhase.STARTING],
    )
    # To be told to sort, the ORM compares all columns, which takes longer than sorting.
    return sorted(rows.select_related(*_RELATED), key=attrgetter("pk"))


def _look_at(due: Iterable[Operation], several: Several) -> None:
    ready: dict[object, list[Operation]] = defaultdict(list)
    for operation in due:
        with several.each():
            if _is_ready(operation):
                ready[_what_it_asks(operation)].append(operation)
    for alike in ready.values():
        with several.each():
            _ask(alike, several)


def _what_it_asks(operation: Operation) -> object:
    """The same for operations that AWS is asked for by the same call, in the same place."""
    place = operation.account_id, operation.region
    return *place, operation.kind, operation.effect, operation.undoes_id is None


def _is_ready(operation: Operation) -> bool:
    """Whether AWS may be asked for it now; sees to it that the row says what it waits for else."""
    if operation.phase == OperationPhase.STARTING and not _is_to_be_asked_for_again(operation):
        return False
    if not _has_its_turn_in_the_chain(operation):
        return False
    if operation.within_seconds is not None:
        deadline_at = min(operation.deadline_at, _in(operation.within_seconds))
        transitions.change(operation, deadline_at=deadline_at, within_seconds=None)
    if clock.now() >= operation.deadline_at:
        _give_up_at_the_deadline(operation)
        return False
    if operation.waits_for_turn:
        # Nobody has called it up for long: see whether there is room after all.
        transitions.change(operation, due_at=_in(turns.FORGOTTEN.total_seconds()))
        turns.call_up(turns.queues_of([operation]))
        return False
    return True


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


def _ask(alike: Sequence[Operation], several: Several) -> None:
    """Ask AWS for each when it has its turn, then write what came of it."""
    try:
        aws = _aws(alike[0])
    except Fault as fault:
        for operation in alike:
            _try_later(operation, fault)
        return
    effect = effect_of(alike[0])
    ask = partial(_refs, effect=effect, aws=aws, server_id=identity.server_id())
    answers: list[Answer] = []
    for turn in slots.take(alike, effect, aws):
        clock.sleep(max(0.0, turn.at - clock.monotonic()))
        waiting, is_refused = deque(_claim(turn.operations)), False
        while waiting and not is_refused and not queue.is_stopping():
            operation = waiting.popleft()
            with several.each():
                refs = ask(operation)
                if refs is not None:
                    answers.append((operation, refs))
                # The others would be refused as well.
                is_refused = refs is None and operation.fault == FaultKind.THROTTLED
        _put_back(waiting)
        if is_refused or queue.is_stopping():
            break
    accepting.accept(answers)


def _claim(operations: Sequence[Operation]) -> list[Operation]:
    """Say that AWS is being asked for them; those that somebody else has at hand are left out."""
    for operation in operations:
        operation.attempts += 1
    return transitions.take_all(
        operations,
        OperationPhase.STARTING,
        ["attempts"],
        asked_at=clock.now(),
        has_slot=False,
        due_at=_in(settings.ENVIRONMENT.settle_seconds),
    )


def _put_back(operations: Sequence[Operation]) -> None:
    """AWS has not been asked for these after all."""
    for operation in operations:
        operation.attempts -= 1
    transitions.take_all(operations, OperationPhase.PLANNED, ["attempts"], due_at=clock.now())


def _refs(operation: Operation, effect: Effect, aws: Aws, server_id: str) -> Refs | None:
    """What AWS calls what it makes; None when it did not say yes."""
    _renew(operation)
    aws = aws.on_behalf_of(_correlation_id(operation)).with_slot(effect.operation)
    try:
        if operation.undoes is not None:
            return undoing.take_back(operation, aws)
        return effect.start(aws, _question(operation, server_id))
    except Fault as fault:
        _learn_from(operation, fault)
        return None


def _renew(operation: Operation) -> None:
    """Say anew that AWS is being asked, if it took long to come to this one.

    The settle time counts from the call. And a worker that was frozen meanwhile must not act on
    what it knew before: raises Overtaken when another is at it.
    """
    now = clock.now()
    settle_seconds = settings.ENVIRONMENT.settle_seconds
    if now - (operation.asked_at or now) > _seconds(settle_seconds * FRESH):
        transitions.change(operation, asked_at=now, due_at=now + _seconds(settle_seconds))


def _is_to_be_asked_for_again(operation: Operation) -> bool:
    """AWS may have been asked already: find out; false when it has been, or nobody knows yet."""
    effect = effect_of(operation)
    find = None if operation.undoes else effect.find
    settled_at = (operation.asked_at or clock.now()) + _seconds(settings.ENVIRONMENT.settle_seconds)
    refs = None
    if find is not None:
        if clock.now() < settled_at:
            transitions.change(operation, due_at=settled_at)
            return False
        try:
            refs = find(_aws(operation), _question(operation, identity.server_id()))
        except Fault as fault:
            _search_later(operation, fault)
            return False
    if refs is not None:
        accepting.accept([(operation, refs)])
        return False
    # What cannot be looked for is safe to repeat.
    transitions.move(operation, OperationPhase.PLANNED, due_at=clock.now())
    return True


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
        wait_seconds = fault.retry_after_seconds or back_off_seconds(operation.attempts)
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
            due_at=_in(back_off_seconds(operation.attempts)),
        )


def _question(operation: Operation, server_id: str) -> Ask:
    earlier = list(_steps_before(operation))
    good = ("", OperationOutcome.SUCCEEDED)
    return Ask(
        spec=operation.spec,
        token=str(operation.token),
        marks=identity.marks(operation, server_id),
        earlier={step.step: step.refs for step in earlier},
        tokens={step.step: str(step.token) for step in earlier},
        failed=frozenset(step.step for step in earlier if step.outcome not in good),
        asked_at=operation.asked_at,
        is_repeated=operation.attempts > 1,
    )


def _steps_before(operation: Operation) -> Iterator[Operation]:
    """The steps of the chain that led to this one, the last first."""
    step = operation.after
    while step is not None:
        yield step
        step = step.after


def _aws(operation: Operation) -> Aws:
    aws = accounts.aws_of(operation.account, operation.region)
    return aws.on_behalf_of(_correlation_id(operation))


def _correlation_id(operation: Operation) -> str:
    return f"operation-{operation.pk}"


def back_off_seconds(attempts: int) -> float:
    """How long to wait after so many attempts, by chance: not all ask again at once."""
    longest = min(2.0 ** min(attempts, 10), LONGEST_BACK_OFF_SECONDS)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


def _in(seconds: float) -> datetime:
    return clock.now() + _seconds(seconds)


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)
