"""The ranges of restores as worker machines know them, and how what they tell is kept."""

from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from cpm.archive.errors import ArchiveError
from cpm.engine import machine_rights, restore_ranges
from cpm.engine.machine_places import archive_of, place_of
from cpm.engine.machine_rights import Way
from cpm.engine.machines import TRUST
from cpm.kernel import clock
from cpm.kernel.faults import Fault
from cpm.machine import wire
from cpm.models.machines import WorkerMachine
from cpm.models.s3_restores import S3RestorePhase, S3RestoreRange
from cpm.resources.restored_snapshots import SNAPSHOT


def of(machine: WorkerMachine) -> QuerySet[S3RestoreRange]:
    """Those of the machine's that are still wanted."""
    filling = machine.restore_ranges.filter(restore__phase=S3RestorePhase.FILLING)
    return filling.select_related(*restore_ranges.RELATED)


def assignment(piece: S3RestoreRange) -> wire.Restoring:
    """What there is to put. Raises `ArchiveError` and Fault where the repository is shut."""
    copy, start = piece.restore.copy, piece.restore.start
    return wire.Restoring(
        range_id=piece.pk,
        version=piece.version,
        first_page=piece.first_page,
        last_page=piece.last_page,
        place=place_of(start.account, start.region),
        snapshot_id=start.refs[SNAPSHOT],
        manifest=copy.snapshot.aws_ref,
        block=piece.block,
        archive=archive_of(copy.repository, copy.storage_class),
        aws_endpoint=settings.ENVIRONMENT.aws_endpoint,
    )


def way(piece: S3RestoreRange, side: wire.Side) -> Way:
    """How a machine gets at one side of a restore."""
    start, repository = piece.restore.start, piece.restore.copy.repository
    if side == "snapshot":
        put = machine_rights.to_put(start.region, start.refs[SNAPSHOT])
        return Way(start.account, start.region, put)
    return Way(repository.account, repository.aws_region, machine_rights.to_fetch(repository))


def save(piece: S3RestoreRange, told: wire.Told) -> None:
    """Keep how far it is; raises Overtaken when the range has been taken away meanwhile."""
    lost = restore_ranges.lost(piece, told.lost)
    if told.is_done:
        restore_ranges.finish(piece, lost)
        return
    done = piece.blocks_done + told.blocks
    restore_ranges.keep(piece, told.progress.block, lost, done, due_at=clock.now() + TRUST)


def change(piece: S3RestoreRange, **changes: Any) -> None:
    """Change a range that is still as it was read. Raises Overtaken."""
    restore_ranges.change(piece, **changes)


def fail(piece: S3RestoreRange, error: ArchiveError | Fault) -> None:
    """It is tried again, by whomever, if it is worth that. Raises Overtaken."""
    restore_ranges.fail(piece, error)
