"""When operations have their slots in AWS's rate limits, and who waits for his by himself."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

from django.db import transaction

from cpm.aws.budget import published
from cpm.aws.sessions import Aws
from cpm.engine import operation_log, transitions
from cpm.engine.budget import LATENESS_SECONDS
from cpm.kernel import clock
from cpm.models.operations import Operation
from cpm.resources.contract import Effect

# A shorter wait for a slot is slept through; for a longer one the row is put aside.
LONGEST_NAP_SECONDS = 4.0
# A longer wait is worth a line in the record's log.
_WORTH_TELLING_SECONDS = 60.0
# Calls whose slots come within so long are made together, when the last of them comes: to wake up
# for one takes more CPU than to make another.
_MOST_TOGETHER_SECONDS = 1.0
_LEAST_TOGETHER_SECONDS = 0.1


@dataclass(frozen=True)
class Turn:
    """Operations that AWS may be asked for together, and when, by the monotonic clock."""

    at: float
    operations: list[Operation]


def take(alike: Sequence[Operation], effect: Effect, aws: Aws) -> list[Turn]:
    """A slot for each; the turns of those that have theirs soon, the first first.

    The others have it in their rows from now on: it is for them to wait for it.
    """
    slots = {each.pk: _slot_of(each) for each in alike if _has_its_slot(each)}
    asking = [each for each in alike if each.pk not in slots]
    if asking:
        name = effect.operation
        waits = aws.cloud.budget.reserve_each(aws.account_number, aws.region, name, len(asking))
        for operation, wait_seconds in zip(asking, waits, strict=True):
            operation.due_at = clock.now() + timedelta(seconds=wait_seconds)
            slots[operation.pk] = clock.monotonic() + wait_seconds
    soon = clock.monotonic() + LONGEST_NAP_SECONDS
    _put_aside([each for each in alike if slots[each.pk] > soon], effect)
    near = [each for each in alike if slots[each.pk] <= soon]
    return _turns(near, slots, _together_seconds(effect))


def _together_seconds(effect: Effect) -> float:
    """So long that AWS's bucket holds what comes together, and what is kept of it for lateness."""
    filling_seconds = published(effect.operation).tolerance_seconds(tokens=0)
    seconds = min(_MOST_TOGETHER_SECONDS, filling_seconds - LATENESS_SECONDS)
    return max(_LEAST_TOGETHER_SECONDS, seconds)


def _turns(
    operations: Sequence[Operation], slots: Mapping[int, float], together_seconds: float
) -> list[Turn]:
    """Those that have their slots now, and then those that have them at about the same time."""
    now = clock.monotonic()

    def interval(operation: Operation) -> int:
        return math.ceil(max(0.0, slots[operation.pk] - now) / together_seconds)

    in_order = sorted(operations, key=lambda each: slots[each.pk])
    together = [list(group) for _, group in groupby(in_order, key=interval)]
    return [Turn(slots[group[-1].pk], group) for group in together]


def _has_its_slot(operation: Operation) -> bool:
    """Whether it need not ask for one."""
    # What takes something back is another call than the effect's own; it waits as it is made.
    return operation.has_slot or operation.undoes_id is not None


def _slot_of(operation: Operation) -> float:
    due_at = operation.due_at or clock.now()
    return clock.monotonic() + (due_at - clock.now()).total_seconds()


@transaction.atomic
def _put_aside(operations: Sequence[Operation], effect: Effect) -> None:
    """Let those whose slot is far off wait for it by themselves."""
    held = transitions.hold(operations)
    transitions.change_all(held, ["due_at"], has_slot=True)
    for operation in held:
        wait_seconds = ((operation.due_at or clock.now()) - clock.now()).total_seconds()
        if wait_seconds > _WORTH_TELLING_SECONDS:
            operation_log.queued(operation, effect.operation, wait_seconds)
