"""Puts ranges of copies in S3 into the EBS snapshots that they are to be.

A range is one worker's at a time. How far it is, is written every few seconds, by a conditional
update: who is killed costs what he has put since, and who is overtaken stops.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction

from cpm.archive import target
from cpm.archive.copying import Progress
from cpm.archive.errors import ArchiveError, Damaged
from cpm.engine import accounts, archived, bulk, jobs, machines, queue, s3_ranges, transitions
from cpm.engine.queue import Overtaken
from cpm.kernel import clock
from cpm.kernel.faults import Fault
from cpm.models.s3_restores import S3RestorePhase, S3RestoreRange
from cpm.resources.restored_snapshots import SNAPSHOT

log = structlog.get_logger(__name__)

CHECKPOINT_SECONDS = 2.0
# What passes is waited for as long as the restore has time; what AWS refuses may yet be allowed.
PAUSE = timedelta(seconds=30)
MOST_REFUSALS = 3
RELATED = (
    *("restore__copy__snapshot", "restore__start__account__assume_from_account"),
    "restore__copy__repository__account__assume_from_account",
)


@jobs.RESTORE_RANGE.runs
def look(range_id: int) -> None:
    """Put what is left of a range."""
    piece = _due(range_id)
    if piece is None:
        return
    start = piece.restore.start
    if machines.take(start.account, start.region, S3RestoreRange.objects.filter(pk=piece.pk)):
        return
    # Whoever has it still, but was taken for dead, cannot tell of it any more.
    change(piece, machine=None, claimed_at=None)
    try:
        _put(piece)
    except (ArchiveError, Fault) as error:
        fail(piece, error)


@jobs.RESTORE_RANGE.gives_up
def give_up(range_id: int) -> None:
    """End a range at which our own code fails again and again."""
    piece = _due(range_id)
    if piece is not None:
        _give_up(piece, "an error of the server, which its log describes")


def keep(piece: S3RestoreRange, block: int, lost: Sequence[str], done: int, **more: Any) -> None:
    """Write down how far it is; raises Overtaken where the range is somebody else's."""
    change(piece, block=block, lost=lost, blocks_done=min(done, piece.blocks), **more)


@transaction.atomic
def finish(piece: S3RestoreRange, lost: Sequence[str]) -> None:
    """All of it has been put, but for what is lost. Raises Overtaken."""
    ended = {"is_done": True, "blocks_done": piece.blocks, "due_at": None, "claimed_at": None}
    change(piece, lost=lost, refusals=0, **ended)
    jobs.wake_recovery(piece.restore.recovery_id)


def fail(piece: S3RestoreRange, error: ArchiveError | Fault) -> None:
    """It did not go on: have it tried again where that may help. Raises Overtaken."""
    log.warning("restore.range_failed", range=piece.pk, error=str(error))
    if isinstance(error, Fault) and error.worth_another_try:
        change(piece, due_at=clock.now() + PAUSE)
    elif isinstance(error, Fault) and piece.refusals + 1 < MOST_REFUSALS:
        later = clock.now() + PAUSE * (piece.refusals + 1)
        change(piece, due_at=later, refusals=piece.refusals + 1)
    else:
        _give_up(piece, str(error))


def change(piece: S3RestoreRange, **changes: Any) -> None:
    """Change a range that is still as it was read; raises Overtaken when somebody was first."""
    transitions.change_among(piece, S3RestoreRange.objects.all(), **changes)


def lost(piece: S3RestoreRange, found: Iterable[str]) -> list[str]:
    """All that has been lost of the range so far."""
    return sorted({*piece.lost, *found})


def _due(range_id: int) -> S3RestoreRange | None:
    rows = S3RestoreRange.objects.filter(
        pk=range_id, due_at__lte=clock.now(), restore__phase=S3RestorePhase.FILLING
    )
    return bulk.one(rows.select_related(*RELATED))


def _put(piece: S3RestoreRange) -> None:
    restore = piece.restore
    archive, manifest = archived.archive_of(restore.copy)
    start = restore.start
    account = _Account(piece)
    put = target.restore_range(
        archive,
        manifest,
        accounts.aws_of(start.account, start.region).on_behalf_of(f"restore-{restore.pk}"),
        start.refs[SNAPSHOT],
        range(piece.first_page, piece.last_page + 1),
        first_block=piece.block,
        tell=account.note,
        should_stop=account.should_stop,
        limits=s3_ranges.limits(),
        progress=account.progress,
    )
    if account.overtaken is not None:
        raise account.overtaken
    if put.is_finished:
        finish(piece, account.lost(put.damages))
    else:
        keep(piece, put.block, account.lost(put.damages), account.done)


class _Account:
    """Writes down how far a range is, every few seconds."""

    def __init__(self, piece: S3RestoreRange) -> None:
        self.progress = Progress()
        self.overtaken: Overtaken | None = None
        self._piece = piece
        self._done_before = piece.blocks_done
        self._due = clock.monotonic() + CHECKPOINT_SECONDS

    def note(self, block: int, damages: Sequence[Damaged]) -> None:
        """All before the block has been put, but for what is damaged."""
        if clock.monotonic() < self._due:
            return
        try:
            keep(self._piece, block, self.lost(damages), self.done)
        except Overtaken as overtaken:
            self.overtaken = overtaken
        self._due = clock.monotonic() + CHECKPOINT_SECONDS

    @property
    def done(self) -> int:
        """How many blocks have been put."""
        return self._done_before + self.progress.blocks

    def should_stop(self) -> bool:
        """Whether somebody else has it now, it is wanted no more, or this worker is to stop."""
        return self.overtaken is not None or queue.is_stopping()

    def lost(self, damages: Sequence[Damaged]) -> list[str]:
        """All that has been lost of the range so far."""
        # Other threads may add to them.
        return lost(self._piece, [each.what for each in list(damages)])


def _give_up(piece: S3RestoreRange, error: str) -> None:
    with transaction.atomic():
        change(piece, error=error, due_at=None)
        jobs.wake_recovery(piece.restore.recovery_id)
