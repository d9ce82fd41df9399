"""Writes down that AWS works on operations, or has done them, and what it calls the results."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import groupby

from django.conf import settings
from django.db import transaction

from cpm.engine import bulk, closing, jobs, operation_log, transitions
from cpm.engine.effects import effect_of
from cpm.kernel import clock
from cpm.models.operations import Operation, OperationPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.resources.contract import Refs

Answer = tuple[Operation, Refs]


@transaction.atomic
def accept(answers: Sequence[Answer]) -> None:
    """Write what AWS has answered to operations of one effect; those taken over are left alone."""
    refs = {operation.pk: its_refs for operation, its_refs in answers}
    operations = transitions.hold([operation for operation, _ in answers])
    if not operations:
        return
    for operation in operations:
        operation.refs = refs[operation.pk]
    effect = effect_of(operations[0])
    watch = effect.watch if operations[0].undoes_id is None else effect.undo_watch
    watched = [each for each in operations if watch and each.refs]
    _name_snapshots(operations, is_done=not effect.watch)
    operation_log.accepted(operations)
    done = [each for each in operations if each not in watched]
    closing.succeed_all(done, ["refs"], started_at=clock.now())
    if watched:
        _watch(watched, watch)


def _watch(operations: Sequence[Operation], watch: str) -> None:
    now = clock.now()
    transitions.move_all(
        operations,
        OperationPhase.STARTED,
        ["refs"],
        watch=watch,
        started_at=now,
        fault="",
        error="",
        due_at=now + timedelta(seconds=settings.ENVIRONMENT.poll_seconds),
    )
    closing.release_those_that_go_along(operations)
    backups = {each.backup.pk for each in operations if each.backup and each.backup.runs_scripts}
    if backups:
        # They may wait for nothing but this.
        jobs.wake_backups(backups)


def _name_snapshots(operations: Iterable[Operation], *, is_done: bool) -> None:
    """Tell the snapshots what AWS calls them."""
    making = {
        each.pk: each
        for each in operations
        if each.snapshot_id is None and each.recovery_id is None and each.undoes_id is None
    }
    rows = Snapshot.objects.filter(operation__in=making).order_by("operation", "pk")
    named = [
        snapshot
        for operation_id, its_rows in groupby(rows, key=lambda row: row.operation_id)
        for snapshot in _named(list(its_rows), making[operation_id or 0].refs)
    ]
    now = clock.now()
    for snapshot in named:
        snapshot.started_at = now
        if is_done:
            snapshot.status, snapshot.progress_percent = SnapshotStatus.SUCCEEDED, 100
            snapshot.finished_at = now
    bulk.update(named, _NAMED)


_NAMED = ["aws_ref", "status", "progress_percent", "started_at", "finished_at"]


def _named(rows: Sequence[Snapshot], refs: Refs) -> Iterator[Snapshot]:
    """The snapshots that AWS makes; those that it does not have failed."""
    by_resource = {row.resource_id: row for row in rows}
    for resource_id, ref in refs.items():
        snapshot = by_resource.pop(resource_id, None) or _unexpected(rows[0], resource_id)
        snapshot.aws_ref = ref
        yield snapshot
    if by_resource:
        Snapshot.objects.filter(pk__in=[row.pk for row in by_resource.values()]).update(
            status=SnapshotStatus.FAILED,
            error="AWS made no snapshot of it",
            finished_at=clock.now(),
        )


def _unexpected(like: Snapshot, resource_id: str) -> Snapshot:
    """AWS made one more than was planned (a volume attached just now): it is ours all the same."""
    snapshot = Snapshot.objects.get(pk=like.pk)
    snapshot.pk, snapshot._state.adding = None, True  # noqa: SLF001 - Django's way to copy a row
    snapshot.resource_id = resource_id
    snapshot.resource_name, snapshot.volume_device, snapshot.size_gib = None, None, None
    snapshot.facts = {}
    snapshot.save(force_insert=True)
    return snapshot
