"""Takes back what a chain of operations has made: what was a means to its end, when it has done its
work, and everything when it has failed.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from cpm.aws.sessions import Aws
from cpm.engine import accounts, jobs
from cpm.engine.effects import effect_of
from cpm.kernel import clock, times
from cpm.models.operations import Operation, OperationOutcome
from cpm.resources.contract import Once, Refs

# What is being taken back should be gone within the day.
DEADLINE = timedelta(hours=24)
# One that follows is woken when its turn comes; this is when it looks whether it was forgotten.
IDLE = timedelta(minutes=1)


def has_failed(steps: Iterable[Operation]) -> bool:
    """Whether a step that the result depends on went wrong."""
    return any(
        step.outcome != OperationOutcome.SUCCEEDED and not effect_of(step).tidies_up
        for step in steps
        if step.undoes_id is None
    )


def has_means(steps: Sequence[Operation]) -> bool:
    """Whether the chain has made what was a means, and is not being taken back yet."""
    ordered = {step.undoes_id for step in steps}
    made = (step for step in steps if step.refs and step.pk not in ordered)
    return any(step.undoes_id is None and effect_of(step).temporary for step in made)


def order(steps: Sequence[Operation], *, in_vain: bool = False) -> bool:
    """Have what is not to stay taken back, the last first; False when all of it has been ordered.

    The steps are all those of a chain, in the order of their making, and all of them are over.
    `in_vain`: the chain has failed, whatever became of them.
    """
    failed = in_vain or has_failed(steps)
    ordered = {step.undoes_id for step in steps if step.undoes_id is not None}
    made = [step for step in reversed(steps) if step.refs and step.undoes_id is None]
    going = [step for step in made if step.pk not in ordered and _is_to_go(step, failed)]
    if going:
        _place(going)
    return bool(going)


def take_back(operation: Operation, aws: Aws) -> Refs:
    """Have AWS take back what the step that the operation undoes has made.

    Returns what is then to be watched until it is gone. Raises Fault.
    """
    effect, undone = effect_of(operation), operation.undoes
    if undone is None or effect.undo is None:
        return {}
    if effect.expire is not None and accounts.forbids_deleting(operation.account):
        effect.expire(aws, undone.refs, times.to_wire(operation.created_at))
        return {}
    effect.undo(aws, undone.refs)
    return undone.refs if effect.undo_watch else {}


def left_behind(steps: Iterable[Operation]) -> bool:
    """Whether something could not be taken back."""
    last = {step.undoes_id: step for step in steps if step.undoes_id is not None}
    return any(step.outcome != OperationOutcome.SUCCEEDED for step in last.values())


def refused() -> QuerySet[Operation]:
    """The steps of which AWS has refused to take back what they made."""
    attempts = Operation.objects.filter(undoes=OuterRef("pk"))
    open_or_good = attempts.exclude(outcome=OperationOutcome.FAILED)
    steps = Operation.objects.filter(Exists(attempts), ~Exists(open_or_good))
    return steps.exclude(account=None).order_by("pk")


def ask_again(steps: Iterable[Operation]) -> None:
    """Have what steps made taken back once more, each by itself."""
    for step in steps:
        _place([step])


def _is_to_go(step: Operation, failed: bool) -> bool:
    effect = effect_of(step)
    return effect.undo is not None and (failed or effect.temporary)


@transaction.atomic
def _place(steps: Iterable[Operation]) -> None:
    before: Operation | None = None
    for step in steps:
        before = _undoing(step, before)


def _undoing(step: Operation, before: Operation | None) -> Operation:
    now = clock.now()
    undoing = Operation.objects.create(
        kind=step.kind,
        effect=step.effect,
        account_id=step.account_id,
        region=step.region,
        resource_id=step.resource_id,
        backup_id=step.backup_id,
        recovery_id=step.recovery_id,
        dr_copy_id=step.dr_copy_id,
        undoes=step,
        after=before,
        once=Once.OVER,
        created_at=now,
        due_at=now if before is None else now + IDLE,
        deadline_at=now + DEADLINE,
    )
    if before is None:
        jobs.defer_operations([undoing])
    return undoing
