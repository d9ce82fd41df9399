"""Restores: copies in S3 become EBS snapshots again, of which a recovery then makes what it is for.

For each copy a snapshot is started and sealed by operations, as all that AWS is asked for once; in
between any number of workers put blocks into it (`restore_ranges`). The rules are in
docs/design/recovery-from-s3.md.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models import F

from cpm.archive import target
from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.errors import ArchiveError
from cpm.archive.manifests import PagePlace
from cpm.archive.pages import PAGE_BLOCKS
from cpm.engine import closing, events, jobs, machines, orders, transitions
from cpm.engine.archived import Hopeless, Planned, Terms, archive_of, related
from cpm.engine.orders import Place
from cpm.engine.s3_progress import Progress
from cpm.kernel import amounts, clock
from cpm.kernel.faults import Fault
from cpm.models.operations import Operation, OperationOutcome, OperationPhase
from cpm.models.recoveries import Recovery
from cpm.models.s3_copies import S3Copy
from cpm.models.s3_restores import S3Restore, S3RestorePhase, S3RestoreRange
from cpm.resources import restored_snapshots
from cpm.resources.contract import Order
from cpm.resources.restored_snapshots import SNAPSHOT

log = structlog.get_logger(__name__)

# Beside what the data takes at the slowest that is worth waiting for.
DEADLINE = timedelta(hours=24)
SLOWEST_BYTES_PER_SECOND = 8 * 2**20
# A restore is brought in so many ranges at most; many workers have something to do by that.
MOST_RANGES = 1024
_MOST_NAMED = 20


def place(recovery: Recovery, planned: Sequence[Planned]) -> None:
    """Store and defer the beginning of the restores of a recovery."""
    starts, rows = [], []
    for each in planned:
        deadline_at = clock.now() + DEADLINE + _slowest(each.blocks)
        start = _operation(recovery, each.copy, each.restore.order)
        starts.append(start)
        rows.append(
            S3Restore(
                recovery=recovery,
                copy=each.copy,
                start=start,
                blocks=each.blocks,
                deadline_at=deadline_at,
            )
        )
    orders.store(starts)
    S3Restore.objects.bulk_create(rows)


def advance(recovery: Recovery) -> bool:
    """Take every restore as far as it goes by now; says whether all snapshots are complete.

    Raises Hopeless when one of them cannot be restored.
    """
    restores = list(related(recovery))
    for restore in restores:
        try:
            while _STEPS[S3RestorePhase(restore.phase)](restore):
                pass
        except Fault as fault:
            if not fault.worth_another_try or clock.now() >= restore.deadline_at:
                raise Hopeless(f"{_name(restore)}: {fault}") from None
            log.warning("restore.delayed", restore=restore.pk, fault=str(fault))
        except ArchiveError as error:
            raise Hopeless(f"{_name(restore)}: {error}") from None
    return all(restore.phase == S3RestorePhase.CLOSED for restore in restores)


def stop(recovery: Recovery) -> None:
    """Begin nothing more for a recovery that has failed, and have its workers put nothing more."""
    ranges = S3RestoreRange.objects.filter(restore__recovery=recovery)
    ranges.filter(due_at__isnull=False).update(due_at=None, version=F("version") + 1)
    still_open = recovery.restores.exclude(phase=S3RestorePhase.CLOSED)
    still_open.update(phase=S3RestorePhase.CLOSED, version=F("version") + 1)
    for step in recovery.operations.filter(phase=OperationPhase.PLANNED):
        closing.cancel(step, "the recovery has failed")


def losses(recovery: Recovery) -> list[str]:
    """What is zeros now that was something else, for each copy of which that is so."""
    return [
        f"{_name(restore)}: {_listed(restore.lost)} damaged in S3, and zeros now"
        for restore in related(recovery)
        if restore.lost
    ]


def _operation(recovery: Recovery, copy: S3Copy, order: Order) -> Operation:
    """A step about one copy, which is not stored yet."""
    place_ = Place(copy.snapshot.kind, recovery.account, recovery.region)
    deadline_at = clock.now() + DEADLINE
    ((operation, _),) = orders.chain(
        place_.everywhere, [order], copy.snapshot.resource_id, deadline_at
    )
    operation.recovery = recovery
    return operation


def _begin_to_fill(restore: S3Restore) -> bool:
    """The snapshot is there: divide what is to be put into it among the workers."""
    if not _has_succeeded(restore, restore.start):
        return False
    _, manifest = archive_of(restore.copy)
    with transaction.atomic():
        transitions.move(restore, S3RestorePhase.FILLING, began_at=clock.now())
        ranges = S3RestoreRange.objects.bulk_create(_ranges(restore, manifest.pages))
        start = restore.start
        if not machines.take(start.account, start.region, restore.ranges.all()):
            jobs.defer_restore_ranges(each.pk for each in ranges)
        events.log(
            "restore_started",
            recovery=restore.recovery,
            resource=restore.copy.snapshot.resource_id,
            snapshot=restore.start.refs[SNAPSHOT],
            copy=restore.copy.snapshot.aws_ref,
            repository=restore.copy.repository.name,
            size=amounts.size(restore.blocks * BLOCK_BYTES),
        )
    return True


def _ranges(restore: S3Restore, pages: Sequence[PagePlace]) -> Iterator[S3RestoreRange]:
    each_has = -(-len(pages) // MOST_RANGES) or 1
    for at in range(0, len(pages), each_has):
        chosen = pages[at : at + each_has]
        yield S3RestoreRange(
            restore=restore,
            first_page=chosen[0].page,
            last_page=chosen[-1].page,
            block=chosen[0].page * PAGE_BLOCKS,
            blocks=sum(each.blocks for each in chosen),
            due_at=clock.now(),
        )


def _end_filling(restore: S3Restore) -> bool:
    """Have AWS seal the snapshot, once all that there is has been put into it."""
    ranges = list(restore.ranges.all())
    errors = [each.error for each in ranges if each.error]
    if errors:
        raise Hopeless(f"{_name(restore)}: {errors[0]}")
    if not all(each.is_done for each in ranges):
        if clock.now() >= restore.deadline_at:
            raise Hopeless(f"{_name(restore)}: its blocks could not be put in time")
        _tell_progress(restore, sum(each.blocks_done for each in ranges))
        return False
    lost = sorted({what for each in ranges for what in each.lost}, key=_by_number)
    if lost and not Terms.of(restore.recovery.options).may_lose:
        raise Hopeless(f"{_name(restore)}: {_listed(lost)} damaged in S3")
    _order_completion(restore, lost)
    return True


def _order_completion(restore: S3Restore, lost: Sequence[str]) -> None:
    archive, manifest = archive_of(restore.copy)
    put = target.totals(archive, manifest, lost=set(lost))
    snapshot_id = restore.start.refs[SNAPSHOT]
    order = restored_snapshots.completion(snapshot_id, put)
    with transaction.atomic():
        completion = _operation(restore.recovery, restore.copy, order)
        orders.store([completion])
        transitions.move(restore, S3RestorePhase.COMPLETING, completion=completion, lost=list(lost))
        values = {"resource": restore.copy.snapshot.resource_id, "snapshot": snapshot_id}
        events.log(
            "restore_put",
            recovery=restore.recovery,
            size=amounts.size(put.blocks * BLOCK_BYTES),
            **values,
        )


def _end(restore: S3Restore) -> bool:
    if restore.completion is None or not _has_succeeded(restore, restore.completion):
        return False
    transitions.move(restore, S3RestorePhase.CLOSED)
    return True


def _nothing(_restore: S3Restore) -> bool:
    return False


_STEPS = {
    S3RestorePhase.PLANNED: _begin_to_fill,
    S3RestorePhase.FILLING: _end_filling,
    S3RestorePhase.COMPLETING: _end,
    S3RestorePhase.CLOSED: _nothing,
}


def _has_succeeded(restore: S3Restore, operation: Operation) -> bool:
    if operation.phase != OperationPhase.CLOSED:
        return False
    if operation.outcome != OperationOutcome.SUCCEEDED:
        raise Hopeless(f"{_name(restore)}: {operation.effect}: {operation.error}")
    return True


def _tell_progress(restore: S3Restore, done: int) -> None:
    """Say how far it is, at what rate, and how long it will take, now and then."""
    progress = Progress.since(restore.began_at, done / max(restore.blocks, 1), done)
    if not progress.is_news(restore.told_percent):
        return
    with transaction.atomic():
        transitions.change(restore, told_percent=progress.percent)
        events.log(
            "restore_progress",
            recovery=restore.recovery,
            resource=restore.copy.snapshot.resource_id,
            percent=progress.percent,
            rate=progress.mib_per_second,
            eta=progress.eta,
        )


def _slowest(blocks: int) -> timedelta:
    return timedelta(seconds=blocks * BLOCK_BYTES / SLOWEST_BYTES_PER_SECOND)


def _name(restore: S3Restore) -> str:
    return f"{restore.copy.snapshot.aws_ref} of {restore.copy.snapshot.resource_id}"


def _listed(lost: Sequence[str]) -> str:
    more = len(lost) - _MOST_NAMED
    are = "is" if len(lost) == 1 else "are"
    return ", ".join(lost[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "") + f" {are}"


def _by_number(what: str) -> tuple[str, int]:
    kind, _, number = what.rpartition(" ")
    return kind, int(number)
