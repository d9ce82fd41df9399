"""When operations have their slots in AWS's rate limits, and who waits for his by himself."""

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction

from cpm.aws.sessions import Aws
from cpm.engine import operation_log, transitions
from cpm.kernel import clock
from cpm.models.operations import Operation
from cpm.resources.contract import Effect

# A shorter wait for a slot is slept through; for a longer one the row is put aside.
LONGEST_NAP_SECONDS = 4.0
# A longer wait is worth a line in the record's log.
_WORTH_TELLING_SECONDS = 60.0


def take(alike: Sequence[Operation], effect: Effect, aws: Aws) -> dict[int, float]:
    """When, by the monotonic clock, the turns of those are that have one soon, by their ids.

    The others have it in their rows from now on: it is for them to wait for it.
    """
    soon = clock.monotonic() + LONGEST_NAP_SECONDS
    turns_at = {each.pk: _turn_of(each) for each in alike if _has_its_slot(each)}
    asking = [each for each in alike if each.pk not in turns_at]
    if asking:
        name = effect.operation
        waits = aws.cloud.budget.reserve_each(aws.account_number, aws.region, name, len(asking))
        for operation, wait_seconds in zip(asking, waits, strict=True):
            operation.due_at = clock.now() + timedelta(seconds=wait_seconds)
            turns_at[operation.pk] = clock.monotonic() + wait_seconds
    _put_aside([each for each in alike if turns_at[each.pk] > soon], effect)
    return {pk: at for pk, at in turns_at.items() if at <= soon}


def _has_its_slot(operation: Operation) -> bool:
    """Whether it need not ask for one."""
    # What takes something back is another call than the effect's own; it waits as it is made.
    return operation.has_slot or operation.undoes_id is not None


def _turn_of(operation: Operation) -> float:
    due_at = operation.due_at or clock.now()
    return clock.monotonic() + (due_at - clock.now()).total_seconds()


@transaction.atomic
def _put_aside(operations: Sequence[Operation], effect: Effect) -> None:
    """Let those whose turn is far off wait for it by themselves."""
    held = transitions.hold(operations)
    transitions.change_all(held, ["due_at"], has_slot=True)
    for operation in held:
        wait_seconds = ((operation.due_at or clock.now()) - clock.now()).total_seconds()
        if wait_seconds > _WORTH_TELLING_SECONDS:
            operation_log.queued(operation, effect.operation, wait_seconds)
