"""What operations tell the log of the record that they serve."""

from collections.abc import Iterable
from typing import Any

from cpm.engine import events
from cpm.engine.effects import effect_of
from cpm.kernel.faults import Fault
from cpm.models.events import Event
from cpm.models.operations import Operation


def accepted(operations: Iterable[Operation]) -> None:
    """AWS works on them, or has done them."""
    lines = map(_accepted, operations)
    events.log_all(line for line in lines if line is not None)


def _accepted(operation: Operation) -> Event | None:
    """That something was taken back is told when it is over; a deletion is told by its snapshot."""
    backup, recovery = operation.backup, operation.recovery
    if operation.undoes_id is not None or (backup is None and recovery is None):
        return None
    refs = ", ".join(operation.refs.values())
    return events.event(
        _code(operation, refs),
        backup=backup,
        recovery=recovery,
        resource=operation.resource_id,
        region=operation.region,
        effect=operation.effect,
        refs=refs or "done",
    )


def _code(operation: Operation, refs: str) -> str:
    if operation.recovery_id is not None:
        return "step_started"
    if operation.dr_copy_id is not None:
        return "copy_step_started"
    if not refs:
        return "step_done"
    return "step_of_backup" if effect_of(operation).for_consistency else "snapshots_started"


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
