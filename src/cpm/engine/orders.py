"""Turns what a driver orders into rows: operations, and the snapshots that they will make."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cpm.engine import jobs
from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupTarget
from cpm.models.operations import Operation
from cpm.models.recoveries import Recovery
from cpm.models.snapshots import Snapshot
from cpm.resources.contract import Order, Part

# A follower is woken when its turn comes; this is when it looks whether it was forgotten.
_FOLLOWER_WAIT = timedelta(minutes=1)
_ROWS_PER_INSERT = 500


@dataclass(frozen=True)
class Place:
    """Where operations act."""

    kind: str
    account: Account | None
    region: str


def place_snapshots(
    place: Place,
    backup: Backup,
    ordered: Iterable[tuple[BackupTarget, Sequence[Order]]],
    *,
    deadline_at: datetime,
) -> int:
    """Store and defer what protects the targets; says how many snapshots there will be."""
    operations, snapshots = [], []
    for target, orders in ordered:
        for operation, order in _chain(place, orders, target.resource_id, deadline_at):
            operation.backup = backup
            operations.append(operation)
            snapshots += [snapshot_row(place, target, operation, part) for part in order.parts]
    _store(operations)
    Snapshot.objects.bulk_create(snapshots, batch_size=_ROWS_PER_INSERT)
    jobs.defer_operations(operation for operation in operations if operation.after is None)
    return len(snapshots)


def place_recovery(
    place: Place, recovery: Recovery, orders: Sequence[Order], *, deadline_at: datetime
) -> None:
    """Store and defer the steps of a recovery."""
    operations = [
        operation for operation, _ in _chain(place, orders, recovery.resource_id, deadline_at)
    ]
    for operation in operations:
        operation.recovery = recovery
    _store(operations)
    jobs.defer_operations(operation for operation in operations if operation.after is None)


def _chain(
    place: Place, orders: Sequence[Order], resource_id: str, deadline_at: datetime
) -> list[tuple[Operation, Order]]:
    now = clock.now()
    by_step: dict[str, Operation] = {}
    chained = []
    for order in orders:
        operation = Operation(
            kind=place.kind,
            effect=order.effect,
            account=place.account,
            region=place.region,
            resource_id=resource_id,
            spec=order.spec,
            step=order.step,
            after=by_step[order.after] if order.after else None,
            once=order.once,
            created_at=now,
            due_at=now + _FOLLOWER_WAIT if order.after else now,
            deadline_at=deadline_at,
        )
        by_step[order.step] = operation
        chained.append((operation, order))
    return chained


def _store(operations: Iterable[Operation]) -> None:
    """Insert the rows, those that others follow first: inserting is what gives them their ids."""
    waiting = list(operations)
    while waiting:
        ready = [each for each in waiting if each.after is None or each.after.pk]
        Operation.objects.bulk_create(ready, batch_size=_ROWS_PER_INSERT)
        waiting = [each for each in waiting if not each.pk]


def snapshot_row(
    place: Place, target: BackupTarget, operation: Operation | None, part: Part
) -> Snapshot:
    """The row of a copy that the operation will make, or that is there already."""
    return Snapshot(
        backup_id=target.backup_id,
        target=target,
        operation=operation,
        kind=part.kind,
        collection=part.collection,
        account=place.account,
        account_name=place.account.name if place.account else "",
        region=place.region,
        resource_id=part.resource_id,
        resource_name=part.resource_name,
        instance_id=part.instance_id,
        volume_device=part.device,
        facts=part.facts,
        size_gib=part.size_gib,
        encrypted=part.encrypted,
    )
