"""The ranges of copies as worker machines know them, and how what they tell is kept."""

from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet

from cpm.archive import packs
from cpm.archive.copying import Progress
from cpm.archive.errors import ArchiveError
from cpm.engine import machine_rights, s3_copies, s3_ranges
from cpm.engine.machine_places import archive_of, place_of
from cpm.engine.machine_rights import Way
from cpm.engine.machines import TRUST
from cpm.kernel import clock
from cpm.kernel.faults import Fault
from cpm.machine import wire
from cpm.models.machines import WorkerMachine
from cpm.models.s3_copies import S3CopyPhase, S3CopyRange

_RELATED = [f"copy__{name}" for name in s3_copies.RELATED]


def of(machine: WorkerMachine) -> QuerySet[S3CopyRange]:
    """Those of the machine's whose copies still have time."""
    in_time = Q(copy__deadline_at=None) | Q(copy__deadline_at__gt=clock.now())
    running = machine.copy_ranges.filter(in_time, copy__phase=S3CopyPhase.RUNNING)
    return running.select_related(*_RELATED)


def assignment(piece: S3CopyRange) -> wire.Copying:
    """What there is to copy. Raises `ArchiveError` and Fault where the repository is shut."""
    copy = piece.copy
    return wire.Copying(
        range_id=piece.pk,
        version=piece.version,
        first_page=piece.first_page,
        last_page=piece.last_page,
        place=place_of(*s3_copies.source_of(copy)),
        snapshot_id=copy.original_ref,
        compared_with=copy.compared_with,
        based_on=copy.based_on,
        archive=archive_of(copy.repository, copy.storage_class),
        after=wire.Progress(block=piece.block, open_page=bytes(piece.open_page)),
        pack_bytes=packs.DEFAULT_PACK_BYTES,
        level=settings.ENVIRONMENT.archive_level,
        aws_endpoint=settings.ENVIRONMENT.aws_endpoint,
    )


def way(piece: S3CopyRange, side: wire.Side) -> Way:
    """How a machine gets at one side of a copy."""
    copy = piece.copy
    if side == "snapshot":
        return Way(*s3_copies.source_of(copy), machine_rights.to_read(copy))
    repository = copy.repository
    return Way(repository.account, repository.aws_region, machine_rights.to_write(repository))


def save(piece: S3CopyRange, told: wire.Told) -> None:
    """Keep a checkpoint; raises Overtaken when the range has been taken away meanwhile."""
    if told.is_done:
        s3_ranges.finish(piece)
        return
    done = Progress(blocks=told.blocks, stored_bytes=told.stored_bytes)
    s3_ranges.keep(piece, done, told.progress.checkpoint, due_at=clock.now() + TRUST)


def change(piece: S3CopyRange, **changes: Any) -> None:
    """Change a range that is still as it was read. Raises Overtaken."""
    s3_ranges.change(piece, **changes)


def fail(piece: S3CopyRange, error: ArchiveError | Fault) -> None:
    """It is tried again, by whomever, if it is worth that. Raises Overtaken."""
    s3_ranges.fail(piece, error)
