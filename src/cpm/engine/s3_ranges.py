"""Ranges of copies: any number of workers share them, each copies one at a time.

What a checkpoint says is written on condition that nobody else has taken the range over, so that a
worker that was taken for dead does not undo what was done since.
"""

from functools import partial
from typing import Any

import msgspec
from django.conf import settings

from cpm.archive import known
from cpm.archive.copying import Limits, Progress, copy_range
from cpm.archive.errors import ArchiveError, Damaged, LineageBroken, NotFound
from cpm.archive.source import EbsSource
from cpm.archive.writer import Checkpoint
from cpm.engine import bulk, jobs, machines, queue, repositories, s3_blocks, s3_copies, transitions
from cpm.engine.accounts import aws_of
from cpm.kernel import clock
from cpm.kernel.faults import Fault, FaultKind
from cpm.models.s3_copies import S3Copy, S3CopyPhase, S3CopyRange

_RELATED = [f"copy__{name}" for name in s3_copies.RELATED]


@jobs.COPY_S3_RANGE.runs
def look(range_id: int) -> None:
    """Copy a range, from where an earlier worker has left it."""
    due = S3CopyRange.objects.filter(pk=range_id, due_at__lte=clock.now(), is_done=False)
    found = bulk.one(due.filter(copy__phase=S3CopyPhase.RUNNING).select_related(*_RELATED))
    if found is None:
        return
    if is_late(found.copy):
        jobs.wake_s3_copy(found.copy_id)
        return
    if machines.take(*s3_copies.source_of(found.copy), S3CopyRange.objects.filter(pk=found.pk)):
        return
    # Whoever has it still, but was taken for dead, cannot tell of it any more.
    change(found, machine=None, claimed_at=None)
    try:
        if _copy(found):
            finish(found)
    except (ArchiveError, Fault) as error:
        fail(found, error)


@jobs.COPY_S3_RANGE.gives_up
def give_up(range_id: int) -> None:
    """End the copy at one of whose ranges our own code fails again and again."""
    found = S3CopyRange.objects.filter(pk=range_id).first()
    if found is not None:
        s3_copies.give_up(found.copy_id)


def keep(range_: S3CopyRange, progress: Progress, checkpoint: Checkpoint, **more: Any) -> None:
    """Write down what is stored by now; raises Overtaken where the range is somebody else's.

    `progress` is what was done since the last time, and begins anew.
    """
    done = ((number, msgspec.to_builtins(place)) for number, place in checkpoint.pages.items())
    change(
        range_,
        block=checkpoint.block,
        pages=[*range_.pages, *map(list, done)],
        open_page=checkpoint.open_page,
        blocks_read=range_.blocks_read + progress.blocks,
        stored_bytes=range_.stored_bytes + progress.stored_bytes,
        **more,
    )
    progress.blocks = progress.stored_bytes = 0


def finish(range_: S3CopyRange) -> None:
    """All of it is there; with the last range the copy can be published. Raises Overtaken."""
    change(range_, is_done=True, due_at=None, claimed_at=None)
    if not S3CopyRange.objects.filter(copy=range_.copy_id, is_done=False).exists():
        jobs.wake_s3_copy(range_.copy_id)


def fail(range_: S3CopyRange, error: ArchiveError | Fault) -> None:
    """See to it that what has failed is tried again, if it is worth that. Raises Overtaken."""
    if isinstance(error, LineageBroken | Damaged | NotFound):
        s3_copies.read_all(range_.copy, str(error))
    else:
        _refuse(range_, error)


def change(range_: S3CopyRange, **changes: Any) -> None:
    """Change a range that is still as it was read; raises Overtaken when somebody was first."""
    running = S3CopyRange.objects.filter(copy__phase=S3CopyPhase.RUNNING)
    transitions.change_among(range_, running, **changes)


def is_late(copy: S3Copy) -> bool:
    """Whether its time is over."""
    return copy.deadline_at is not None and copy.deadline_at <= clock.now()


def _copy(range_: S3CopyRange) -> bool:
    """Copy what is left of it; False if this worker is to stop before the end."""
    copy, progress = range_.copy, Progress()
    if copy.original is None:
        raise Fault(FaultKind.INVALID, f"{copy.original_ref} belongs to no record any longer")
    opened = repositories.open_archive(copy.repository, storage_class=copy.storage_class)
    former = s3_copies.former_of(copy, opened)
    aws = aws_of(copy.original.account, copy.original_region).on_behalf_of(f"s3-{copy.backup_id}")
    base, has_been = known.going_on_from(opened, former, is_compared=bool(copy.compared_with))
    with s3_blocks.index(opened, copy.repository_id) as elsewhere:
        return copy_range(
            opened,
            EbsSource(aws, copy.original_ref, copy.compared_with or None),
            range(range_.first_page, range_.last_page + 1),
            tell=partial(keep, range_, progress),
            base=base,
            known=known.Both(has_been, elsewhere),
            after=_checkpoint(range_),
            should_stop=lambda: queue.is_stopping() or is_late(copy),
            limits=limits(),
            progress=progress,
        )


def _checkpoint(range_: S3CopyRange) -> Checkpoint | None:
    if not range_.block:
        return None
    return Checkpoint(range_.block, {}, bytes(range_.open_page))


def _refuse(range_: S3CopyRange, error: ArchiveError | Fault) -> None:
    """Come back to the range when what has failed may work again, if it is worth that."""
    copy = S3Copy.objects.select_related(*s3_copies.RELATED).get(pk=range_.copy_id)
    if copy.phase == S3CopyPhase.CLOSED:
        return
    if isinstance(error, Fault) and error.worth_another_try:
        S3Copy.objects.filter(pk=copy.pk).update(error=str(error))
        change(range_, due_at=clock.now() + s3_copies.wait_after(error))
    else:
        s3_copies.refuse(copy, error)


def limits() -> Limits:
    """What one of the ranges that this process copies at once may take of it."""
    environment = settings.ENVIRONMENT
    at_once = environment.archive_concurrency
    return Limits(
        memory_bytes=environment.archive_memory_mib * 2**20 // at_once,
        connections=environment.archive_connections,
        level=environment.archive_level,
    )
