"""Turns what a driver orders into rows: operations, and the snapshots that they will make."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cpm.engine import jobs, turns
from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupTarget
from cpm.models.operations import Operation
from cpm.models.recoveries import Recovery
from cpm.models.snapshots import Snapshot
from cpm.resources.contract import Order, Part, Where
from cpm.resources.copied import Copied

# A follower is woken when its turn comes; this is when it looks whether it was forgotten.
_FOLLOWER_WAIT = timedelta(minutes=1)
_ROWS_PER_INSERT = 500


@dataclass(frozen=True)
class Place:
    """Where operations act."""

    kind: str
    account: Account | None
    region: str

    @property
    def everywhere(self) -> Mapping[Where, "Place"]:
        """Where the steps of a chain work that stays in this place."""
        return dict.fromkeys(Where, self)


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
        for operation, order in chain(place.everywhere, orders, target.resource_id, deadline_at):
            operation.backup = backup
            operations.append(operation)
            snapshots += [snapshot_row(place, target, operation, part) for part in order.parts]
    store(operations, snapshots)
    return len(snapshots)


def place_recovery(
    place: Place, recovery: Recovery, orders: Sequence[Order], *, deadline_at: datetime
) -> None:
    """Store and defer the steps of a recovery."""
    operations = [
        operation
        for operation, _ in chain(place.everywhere, orders, recovery.resource_id, deadline_at)
    ]
    for operation in operations:
        operation.recovery = recovery
    store(operations)


def chain(
    places: Mapping[Where, Place],
    orders: Sequence[Order],
    resource_id: str,
    deadline_at: datetime,
) -> list[tuple[Operation, Order]]:
    """The operations of a chain, each in its place; they are not stored yet."""
    now = clock.now()
    by_step: dict[str, Operation] = {}
    chained = []
    for order in orders:
        place = places[order.where]
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
            within_seconds=order.within_seconds,
            created_at=now,
            due_at=now + _FOLLOWER_WAIT if order.after else now,
            deadline_at=deadline_at,
        )
        by_step[order.step] = operation
        chained.append((operation, order))
    return chained


def store(operations: Sequence[Operation], snapshots: Sequence[Snapshot] = ()) -> None:
    """Store operations and the snapshots that they will make, and have begun what may begin."""
    turns.take_numbers(operations)
    _insert(operations)
    Snapshot.objects.bulk_create(snapshots, batch_size=_ROWS_PER_INSERT)
    first = (each for each in operations if each.after is None and not each.waits_for_turn)
    jobs.defer_operations(first)
    turns.call_up(turns.queues_of(operations))


def _insert(operations: Iterable[Operation]) -> None:
    """Those that others follow come first: inserting is what gives them their ids."""
    waiting = list(operations)
    while waiting:
        ready = [each for each in waiting if each.after is None or each.after.pk]
        Operation.objects.bulk_create(ready, batch_size=_ROWS_PER_INSERT)
        waiting = [each for each in waiting if not each.pk]


def copied_of(snapshot: Snapshot) -> Copied:
    """A snapshot as drivers see it."""
    return Copied(
        snapshot_id=snapshot.pk,
        aws_ref=snapshot.aws_ref,
        collection=snapshot.collection,
        resource_id=snapshot.resource_id,
        device=snapshot.volume_device,
        size_gib=snapshot.size_gib,
        facts=snapshot.facts,
    )


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
