"""What operations tell the log of the record that they serve."""

from typing import Any

from cpm.engine import events
from cpm.engine.effects import effect_of
from cpm.kernel.faults import Fault
from cpm.models.events import Event
from cpm.models.operations import Operation
from cpm.resources.contract import Refs


def accepted(operation: Operation, refs: Refs) -> None:
    """AWS works on it, or has done it. That something was taken back is told when it is over."""
    if operation.undoes_id is not None:
        return
    named = ", ".join(refs.values())
    resource, effect = operation.resource_id, operation.effect
    if operation.dr_copy_id is not None:
        events.log(
            "copy_step_started",
            backup=operation.backup,
            effect=effect,
            resource=resource,
            region=operation.region,
            refs=named or "done",
        )
    elif operation.backup is not None and not named:
        events.log("step_done", backup=operation.backup, resource=resource, effect=effect)
    elif operation.backup is not None and effect_of(operation).for_consistency:
        events.log(
            "step_of_backup", backup=operation.backup, effect=effect, resource=resource, refs=named
        )
    elif operation.backup is not None:
        events.log("snapshots_started", backup=operation.backup, resource=resource, snapshots=named)
    elif operation.recovery is not None:
        events.log("step_started", recovery=operation.recovery, effect=effect, refs=named or "done")


def fault(code: str, operation: Operation, fault: Fault) -> None:
    """AWS did not say yes."""
    events.log(
        code,
        backup=operation.backup,
        recovery=operation.recovery,
        operation=fault.operation or operation.effect,
        error=str(fault),
    )


def queued(operation: Operation, name: str, wait_seconds: float) -> None:
    """It waits for its turn in the budget; a record tells of that once."""
    _once("call_queued", operation, name, seconds=round(wait_seconds))


def limited(operation: Operation, fault: Fault, wait_seconds: float) -> None:
    """AWS takes no more at present; a record tells of that once."""
    name = fault.operation or operation.effect
    _once("limit_reached", operation, name, seconds=round(wait_seconds), error=str(fault))


def _once(code: str, operation: Operation, name: str, **values: Any) -> None:
    backup, recovery = operation.backup, operation.recovery
    told = Event.objects.filter(code=code, backup=backup, recovery=recovery)
    if (backup or recovery) and not told.exists():
        events.log(code, backup=backup, recovery=recovery, operation=name, **values)
