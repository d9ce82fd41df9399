"""Which phase may follow which, and the one way in which rows that two workers may touch change.

Every change is an UPDATE on condition that the row is still as it was read: same version, same
phase. Whoever comes second is told, and drops what it learnt.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from cpm.engine import bulk
from cpm.engine.queue import Overtaken
from cpm.models.backups import Backup, BackupPhase
from cpm.models.machines import MachinePhase, WorkerMachine
from cpm.models.notifications import Delivery, DeliveryPhase
from cpm.models.operations import Operation, OperationPhase
from cpm.models.policies import Policy
from cpm.models.recoveries import Recovery, RecoveryPhase
from cpm.models.s3_copies import S3Copy, S3CopyPhase
from cpm.models.s3_restores import S3Restore, S3RestorePhase
from cpm.models.scripts import ScriptPhase, ScriptRun

Table = Mapping[str, frozenset[str]]

OPERATION: Table = {
    OperationPhase.PLANNED: frozenset({OperationPhase.STARTING, OperationPhase.CLOSED}),
    # Back to planned when AWS has said that it did nothing.
    OperationPhase.STARTING: frozenset(
        {OperationPhase.PLANNED, OperationPhase.STARTED, OperationPhase.CLOSED}
    ),
    OperationPhase.STARTED: frozenset({OperationPhase.CLOSED}),
    OperationPhase.CLOSED: frozenset(),
}
BACKUP: Table = {
    BackupPhase.PLANNED: frozenset({BackupPhase.RUNNING, BackupPhase.CLOSED}),
    BackupPhase.RUNNING: frozenset({BackupPhase.CLOSED}),
    BackupPhase.CLOSED: frozenset(),
}
RECOVERY: Table = {
    RecoveryPhase.PLANNED: frozenset({RecoveryPhase.RUNNING, RecoveryPhase.CLOSED}),
    RecoveryPhase.RUNNING: frozenset({RecoveryPhase.CLOSED}),
    RecoveryPhase.CLOSED: frozenset(),
}
RESTORE: Table = {
    S3RestorePhase.PLANNED: frozenset({S3RestorePhase.FILLING, S3RestorePhase.CLOSED}),
    S3RestorePhase.FILLING: frozenset({S3RestorePhase.COMPLETING, S3RestorePhase.CLOSED}),
    S3RestorePhase.COMPLETING: frozenset({S3RestorePhase.CLOSED}),
    S3RestorePhase.CLOSED: frozenset(),
}
SCRIPT: Table = {
    # Closed at once when there is no such script.
    ScriptPhase.PLANNED: frozenset({ScriptPhase.RUNNING, ScriptPhase.CLOSED}),
    ScriptPhase.RUNNING: frozenset({ScriptPhase.CLOSED}),
    ScriptPhase.CLOSED: frozenset(),
}
S3_COPY: Table = {
    S3CopyPhase.PLANNED: frozenset({S3CopyPhase.RUNNING, S3CopyPhase.CLOSED}),
    # Back to planned when it cannot go on from what it was planned with.
    S3CopyPhase.RUNNING: frozenset({S3CopyPhase.PLANNED, S3CopyPhase.CLOSED}),
    S3CopyPhase.CLOSED: frozenset(),
}
DELIVERY: Table = {
    DeliveryPhase.WAITING: frozenset({DeliveryPhase.CLOSED}),
    DeliveryPhase.CLOSED: frozenset(),
}
MACHINE: Table = {
    MachinePhase.PLANNED: frozenset({MachinePhase.STARTING, MachinePhase.CLOSED}),
    # Back to planned when AWS has said that it did nothing.
    MachinePhase.STARTING: frozenset(
        {MachinePhase.PLANNED, MachinePhase.RUNNING, MachinePhase.CLOSED}
    ),
    MachinePhase.RUNNING: frozenset({MachinePhase.ENDING}),
    MachinePhase.ENDING: frozenset({MachinePhase.CLOSED}),
    MachinePhase.CLOSED: frozenset(),
}
TABLES: Mapping[type[Model], Table] = {
    Operation: OPERATION,
    Backup: BACKUP,
    Recovery: RECOVERY,
    S3Restore: RESTORE,
    ScriptRun: SCRIPT,
    S3Copy: S3_COPY,
    Delivery: DELIVERY,
    WorkerMachine: MACHINE,
}

Row = Operation | Backup | Recovery | S3Restore | ScriptRun | S3Copy | Delivery | WorkerMachine
AnyRow = TypeVar(
    "AnyRow",
    Operation,
    Backup,
    Recovery,
    S3Restore,
    ScriptRun,
    S3Copy,
    Delivery,
    WorkerMachine,
)


class IllegalTransition(Exception):
    """A defect of ours: the table does not know this step."""


def move(row: Row, to: str, **changes: Any) -> None:
    """Take the row to phase `to`, with other changes; raises Overtaken when somebody was first."""
    _check(row, to)
    _update(row, {**changes, "phase": to})


def change(row: Row, **changes: Any) -> None:
    """Change the row within its phase; raises Overtaken when somebody was first."""
    _update(row, changes)


def change_among(row: Model, rows: QuerySet[Any], **changes: Any) -> None:
    """Change a row of another type, if it is among these still; raises Overtaken if it is not."""
    _write(row, rows, changes)


def hold(rows: Sequence[AnyRow]) -> list[AnyRow]:
    """Those of the rows that are still as they were read; they stay so until the transaction ends.

    All are of one type.
    """
    if not rows:
        return []
    versions = bulk.hold(type(rows[0]), [row.pk for row in rows], "version")
    return [row for row in rows if versions.get(row.pk) == row.version]


def move_all(rows: Sequence[AnyRow], to: str, names: Sequence[str] = (), **changes: Any) -> None:
    """Take rows that are held to phase `to`, with the same changes to each.

    `names` are columns that are different in each row, and have been set there.
    """
    for row in rows:
        _check(row, to)
    change_all(rows, names, **changes, phase=to)


def take_all(
    rows: Sequence[AnyRow], to: str, names: Sequence[str] = (), **changes: Any
) -> list[AnyRow]:
    """Take rows that nobody holds to phase `to`, as `move_all` does; those that were as read.

    The others must not be used any longer.
    """
    if not rows:
        return []
    for row in rows:
        _check(row, to)
    columns = _set(rows, names, {**changes, "phase": to})
    taken = bulk.update_unchanged(rows, *columns)
    return [row for row in rows if row.pk in taken]


def change_all(rows: Sequence[Row], names: Sequence[str] = (), **changes: Any) -> None:
    """The same within the phase of each."""
    bulk.update(rows, *_set(rows, names, changes))


def hold_targets(policy_id: int | None) -> None:
    """Keep others from changing several targets of a policy until the transaction ends.

    Whoever changes several does so only after this, so that no two wait for each other's rows.
    """
    if policy_id is not None:
        Policy.objects.select_for_update(no_key=True).filter(pk=policy_id).first()


def _check(row: Row, to: str) -> None:
    if to not in TABLES[type(row)][row.phase]:
        raise IllegalTransition(f"{row} cannot go from {row.phase} to {to}")


def _set(
    rows: Sequence[Row], names: Sequence[str], changes: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Set the same changes in each row; the columns that differ from row to row, and the others."""
    for row in rows:
        for name, value in {**changes, "version": row.version + 1}.items():
            setattr(row, name, value)
    return [*names, "version"], list(changes)


def _update(row: Row, changes: dict[str, Any]) -> None:
    _write(row, type(row).objects.filter(phase=row.phase), changes)


def _write(row: Any, rows: QuerySet[Any], changes: dict[str, Any]) -> None:
    if not rows.filter(pk=row.pk, version=row.version).update(version=row.version + 1, **changes):
        raise Overtaken(f"{row} is not at version {row.version} any longer")
    row.version += 1
    for name, value in changes.items():
        setattr(row, name, value)
