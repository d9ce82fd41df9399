"""Finds out what becomes of copies that carry our marks, by the rows that should know them.

A copy is taken into a record only where the operation that carries its token waits for one: the
token is committed before AWS is asked, so whatever is ours has such a row as long as its record
exists. A copy that merely has our tags (somebody has copied a snapshot with them) is reported.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from cpm.aws import tags
from cpm.engine import bulk, events, orders, watchers
from cpm.engine.deleted import shared_collections
from cpm.engine.orders import Place
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, CopyStatus
from cpm.models.operations import Operation, OperationPhase
from cpm.models.recoveries import RecoveryPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.resources import registry
from cpm.resources.contract import Driver, Owned, Part, State, Verdict

_DECIDED = frozenset({State.DONE, State.FAILED})

NO_RECORD = "no record here knows of it"
OF_A_RECOVERY = "a recovery left it behind"
NOT_NEEDED = "its record has another copy, or has given it up"
TO_BE_DELETED = "it was to be deleted"
LEFT_OVER = "what it was part of is gone"


@dataclass(frozen=True)
class Unknown:
    """A copy that belongs to no record, and why that is thought."""

    owned: Owned
    reason: str


@dataclass
class Sorted:
    """What some copies turned out to be."""

    # The ids of the rows that speak of them.
    known: set[int] = field(default_factory=set)
    adopted: int = 0
    unknown: list[Unknown] = field(default_factory=list)


def sort_out(driver: Driver, region: str, batch: Sequence[Owned]) -> Sorted:
    """Find the rows of these copies; take in those that have none, where that is right.

    What was marked as expired, since its account forbids deleting, is its owner's from then on.
    """
    result = Sorted()
    batch = [owned for owned in batch if tags.EXPIRED not in owned.marks]
    rows = _rows_of(driver, region, batch)
    for owned in batch:
        result.known |= {row.pk for row in rows[owned.aws_ref] if _is_alive(row)}
    strangers = [each for each in batch if not any(map(_is_alive, rows[each.aws_ref]))]
    operations = _operations_of(strangers)
    # Of several copies with one token, a good one is adopted.
    for owned in sorted(strangers, key=lambda each: each.state is not State.DONE):
        namesakes = rows[owned.part_of or owned.aws_ref]
        operation = operations.get(owned.marks.get(tags.TOKEN, ""))
        if _is_too_early(owned, namesakes, operation):
            continue
        if _take_in(owned, namesakes, operation):
            result.adopted += 1
        else:
            result.unknown.append(Unknown(owned, _reason(owned, namesakes, operation)))
    return result


def _rows_of(
    driver: Driver, region: str, batch: Iterable[Owned]
) -> Mapping[str, Sequence[Snapshot]]:
    """The rows of the copies, and of those that they were part of, by what AWS calls them.

    Whoever has entered the account under another name has rows of them, too.
    """
    found: dict[str, list[Snapshot]] = defaultdict(list)
    rows = Snapshot.objects.filter(
        region=region,
        collection__in=[each.name for each in driver.snapshot_collections],
        aws_ref__in={ref for each in batch for ref in (each.aws_ref, each.part_of) if ref},
    )
    for row in rows.order_by("pk"):
        found[row.aws_ref].append(row)
    return found


def _is_alive(row: Snapshot) -> bool:
    return row.status != SnapshotStatus.DELETED


def _operations_of(strangers: Iterable[Owned]) -> dict[str, Operation]:
    """The operations that made them, by token."""
    tokens = {token for each in strangers if (token := _token(each)) is not None}
    made_by = Operation.objects.filter(token__in=tokens).select_related(
        "account", "backup", "recovery"
    )
    return {str(operation.token): operation for operation in made_by}


def _token(owned: Owned) -> UUID | None:
    try:
        return UUID(owned.marks.get(tags.TOKEN, ""))
    except ValueError:
        return None


def _is_too_early(owned: Owned, rows: Iterable[Snapshot], operation: Operation | None) -> bool:
    """Whether it is being made or deleted, or AWS's lists may lag behind."""
    if owned.part_of:
        # Somebody may be about to delete all of it.
        if any(map(_is_alive, rows)):
            return True
    elif owned.state not in _DECIDED:
        return True
    settled_at = clock.now() - timedelta(seconds=settings.ENVIRONMENT.settle_seconds)
    if any(row.deleted_at is not None and row.deleted_at > settled_at for row in rows):
        return True
    return operation is not None and _is_at_work(operation, settled_at)


def _is_at_work(operation: Operation, settled_at: datetime) -> bool:
    """Whether something is still going on for the record that the operation is part of."""
    if operation.finished_at is None or operation.finished_at > settled_at:
        return True
    if operation.backup is not None:
        is_open = operation.backup.phase != BackupPhase.CLOSED
    else:
        recovery = operation.recovery
        is_open = recovery is not None and recovery.phase != RecoveryPhase.CLOSED
    others = Operation.objects.filter(backup=operation.backup, recovery=operation.recovery)
    others = others.exclude(phase=OperationPhase.CLOSED)
    return is_open or others.exists()


def _take_in(owned: Owned, rows: Sequence[Snapshot], operation: Operation | None) -> bool:
    """Let a row speak of it, if there is one that should."""
    if owned.part_of:
        return False
    if rows:
        return _take_back(owned, rows)
    return operation is not None and _adopt(owned, operation)


def _reason(owned: Owned, rows: Sequence[Snapshot], operation: Operation | None) -> str:
    if owned.part_of:
        return LEFT_OVER
    if rows:
        return TO_BE_DELETED
    if operation is None or (operation.backup and operation.backup.discarded_at):
        return NO_RECORD
    return NOT_NEEDED if operation.backup else OF_A_RECOVERY


@transaction.atomic
def _adopt(owned: Owned, operation: Operation) -> bool:
    """Take a copy into the record that had it made, if that has no other."""
    locked = Backup.objects.select_for_update(no_key=True).filter(operations=operation)
    backup = locked.filter(discarded_at=None).first()
    row = _row_for(owned, operation) if backup else None
    if backup is None or row is None:
        return False
    row.aws_ref, row.error, row.started_at = owned.aws_ref, "", operation.asked_at
    watchers.learn(row, {owned.aws_ref: Verdict(owned.state, 100, facts=owned.facts)})
    bulk.update([row], ["aws_ref", "started_at", *watchers.LEARNT])
    _tell("snapshot_adopted", backup, row)
    return True


def _row_for(owned: Owned, operation: Operation) -> Snapshot | None:
    """The locked row that waits for the copy; a new one where AWS made one more than planned.

    What is one more is told from what has only the tags by nobody having got AWS's answer.
    """
    rows = list(operation.snapshots.select_for_update().order_by("pk"))
    target = rows[0].target if rows else None
    if not owned.resource_id and len(rows) == 1:
        fitting = rows
    else:
        fitting = [row for row in rows if row.resource_id == owned.resource_id]
    if fitting:
        (row,) = fitting
        return row if row.status == SnapshotStatus.FAILED and not row.aws_ref else None
    if target is None or operation.refs or not owned.resource_id:
        return None
    sibling = rows[0]
    part = Part(
        sibling.kind, sibling.collection, owned.resource_id, instance_id=sibling.instance_id
    )
    place = Place(operation.kind, operation.account, operation.region)
    row = orders.snapshot_row(place, target, operation, part)
    row.save(force_insert=True)
    return row


def _take_back(owned: Owned, rows: Sequence[Snapshot]) -> bool:
    """Let rows speak of it again that took it for gone; not those that wanted it away."""
    if any(row.delete_requested_at for row in rows):
        return False
    good = owned.state is State.DONE
    status = SnapshotStatus.SUCCEEDED if good else SnapshotStatus.FAILED
    for row in rows:
        with transaction.atomic():
            backup = Backup.objects.select_for_update(no_key=True).get(pk=row.backup_id)
            gone = Snapshot.objects.filter(pk=row.pk, status=SnapshotStatus.DELETED)
            if gone.update(status=status, deleted_at=None):
                row.status = status
                _tell("snapshot_found_again", backup, row)
    return True


def _tell(code: str, backup: Backup, row: Snapshot) -> None:
    """Write it into the record's log. A record that had nothing has something now.

    It was not all that it should be when it was closed, so it does not count as a generation.
    """
    events.log(code, backup=backup, snapshot=row.aws_ref, resource=row.resource_id)
    had_nothing = backup.outcome in {BackupOutcome.FAILED, BackupOutcome.DELETED}
    is_shared = row.collection in shared_collections()
    if row.status != SnapshotStatus.SUCCEEDED or is_shared:
        return
    this = Backup.objects.filter(pk=backup.pk)
    if had_nothing:
        this.update(outcome=BackupOutcome.PARTIAL)
    _, collection = registry.by_snapshot_collection(row.collection)
    if collection.is_copy and backup.dr_status in {CopyStatus.FAILED, CopyStatus.DELETED}:
        this.update(dr_status=CopyStatus.PARTIAL)
