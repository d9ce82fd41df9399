"""Copies in S3, one by one: planned as ranges, published when all these are there, closed.

What a copy may go on from, and what it may name, docs/design/archive-format.md says.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import F

from cpm.archive import known, writer
from cpm.archive import repository as archive
from cpm.archive.blobs import BLOCK_BYTES, blocks_of
from cpm.archive.collector import MOST_COPY
from cpm.archive.errors import ArchiveError, Damaged, NameTaken, NotFound
from cpm.archive.manifests import Manifest, PagePlace
from cpm.archive.pages import PAGE_BLOCKS
from cpm.engine import (
    archive_damage,
    bulk,
    events,
    jobs,
    machines,
    repositories,
    s3_blocks,
    s3_manifests,
    s3_retention,
    transitions,
)
from cpm.kernel import amounts, clock
from cpm.kernel.faults import Fault, FaultKind
from cpm.models.accounts import Account
from cpm.models.backups import Backup, CopyOutcome
from cpm.models.repositories import S3Repository
from cpm.models.s3_copies import S3Copy, S3CopyPhase, S3CopyRange
from cpm.models.snapshots import Snapshot, SnapshotStatus

# A copy is woken when its last range is there; this is when it looks whether it was forgotten.
IDLE = timedelta(minutes=1)
# What passes by itself is waited for so long, and no fault of the copy's.
_PASSES_IN = timedelta(minutes=1)
_SHORTEST_WAIT, _LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)
# Ranges of a copy: as many as may help, none with less than a few packs of a full volume.
_MOST_RANGES = 256
_LEAST_PAGES, _LEAST_PAGES_COMPARED = 4, 16
# Of the time that the format gives a copy, what publishing may take.
_MARGIN = timedelta(hours=1)


@jobs.LOOK_AT_S3_COPY.runs
def look(copy_id: int) -> None:
    """Take a copy that is due one step further."""
    due = S3Copy.objects.filter(pk=copy_id, due_at__lte=clock.now())
    copy = bulk.one(due.select_related(*RELATED))
    if copy is None:
        return
    if copy.phase == S3CopyPhase.CLOSED:
        s3_retention.retire(copy)
        return
    if copy.deadline_at is not None and copy.deadline_at <= clock.now():
        fail(copy, f"it was not complete in time{f': {copy.error}' if copy.error else ''}")
        return
    try:
        if copy.phase == S3CopyPhase.PLANNED:
            _plan(copy)
        elif copy.ranges.filter(is_done=False).exists():
            transitions.change(copy, due_at=clock.now() + IDLE)
        else:
            _publish(copy)
    except (ArchiveError, Fault) as error:
        refuse(copy, error)


@jobs.LOOK_AT_S3_COPY.gives_up
def give_up(copy_id: int) -> None:
    """End a copy at which our own code fails again and again."""
    copy = S3Copy.objects.select_related(*RELATED).filter(pk=copy_id).first()
    if copy is None:
        return
    if copy.phase == S3CopyPhase.CLOSED:
        transitions.change(copy, due_at=None)  # cleanup asks again
    else:
        fail(copy, "an error of the server, which its log describes")


RELATED = (
    *("backup", "repository__account__assume_from_account", "snapshot__backup"),
    *("original__account__assume_from_account", "snapshot__target"),
)


def former_of(copy: S3Copy, opened: archive.Repository) -> Manifest | None:
    """The manifest that a copy goes on from.

    Raises `NotFound`, `Damaged` and Fault.
    """
    return known.former(opened, copy.based_on) if copy.based_on else None


def source_of(copy: S3Copy) -> tuple[Account | None, str]:
    """Where the original is."""
    return copy.original.account if copy.original is not None else None, copy.original_region


@transaction.atomic
def read_all(copy: S3Copy, why: str) -> None:
    """Plan a copy anew, which reads everything: what it went on from does not do."""
    _begin_anew(copy, reads_all=True)
    _log("s3_reads_all", copy, error=why)


def refuse(copy: S3Copy, error: ArchiveError | Fault) -> None:
    """Try again later what has failed; what fails for good is tried as often as is wanted."""
    if isinstance(error, Fault) and error.worth_another_try:
        transitions.change(copy, error=str(error), due_at=clock.now() + wait_after(error))
        return
    if copy.attempts >= copy.retry_count:
        fail(copy, str(error))
        return
    wait = min(_SHORTEST_WAIT * 2**copy.attempts, _LONGEST_WAIT)
    with transaction.atomic():
        attempts, due_at = copy.attempts + 1, clock.now() + wait
        transitions.change(copy, error=str(error), attempts=attempts, due_at=due_at)
        copy.ranges.filter(is_done=False).update(due_at=due_at, version=F("version") + 1)
        _log("s3_copy_refused", copy, error=str(error))


def wait_after(fault: Fault) -> timedelta:
    """How long to wait after what passes by itself."""
    return max(_PASSES_IN, timedelta(seconds=fault.retry_after_seconds or 0))


@transaction.atomic
def fail(copy: S3Copy, error: str) -> None:
    """Close a copy as failed for good; what it has stored becomes garbage."""
    outcome = CopyOutcome.FAILED
    blocks_read = _blocks_read(copy)
    closed = {"outcome": outcome, "error": error, "due_at": None, "blocks_read": blocks_read}
    transitions.move(copy, S3CopyPhase.CLOSED, **closed)
    copy.ranges.all().delete()
    Snapshot.objects.filter(pk=copy.snapshot_id).update(
        status=SnapshotStatus.FAILED, error=error, finished_at=clock.now()
    )
    _log("s3_copy_failed", copy, error=error)
    _wake(copy)


def _plan(copy: S3Copy) -> None:
    """Decide what is read, and have it copied."""
    opened = repositories.open_archive(copy.repository)
    began_at = opened.store.now()
    former = _readable_former(copy, opened)
    compared = former.original_ref if former is not None and _can_compare(copy, former) else ""
    with transaction.atomic():
        transitions.move(
            copy,
            S3CopyPhase.RUNNING,
            began_at=began_at,
            based_on=former.snapshot.aws_ref if former is not None else "",
            compared_with=compared,
            due_at=clock.now() + IDLE,
            error="",
        )
        ranges = S3CopyRange.objects.bulk_create(_ranges(copy))
        Snapshot.objects.filter(pk=copy.snapshot_id, started_at=None).update(started_at=clock.now())
        Snapshot.objects.filter(pk=copy.snapshot_id).update(region=copy.repository.aws_region)
        what = f"what differs from {compared}" if compared else "all of it"
        _log("s3_copy_started", copy, what=what)
        if not machines.take(*source_of(copy), copy.ranges.all()):
            jobs.defer_s3_ranges(each.pk for each in ranges)


def _readable_former(copy: S3Copy, opened: archive.Repository) -> S3Copy | None:
    """The newest copy of the volume before this, if it is whole as far as anybody knows."""
    good = S3Copy.objects.filter(
        repository=copy.repository,
        outcome=CopyOutcome.SUCCEEDED,
        snapshot__status=SnapshotStatus.SUCCEEDED,
        snapshot__delete_requested_at=None,
        snapshot__kind=copy.snapshot.kind,
        snapshot__resource_id=copy.snapshot.resource_id,
    )
    if copy.taken_at is not None:
        good = good.filter(taken_at__lt=copy.taken_at)
    former = good.select_related("snapshot").order_by("-taken_at", "-pk").first()
    if former is None:
        return None
    name = former.snapshot.aws_ref
    try:
        # Seen since the copy began, so that all it names may be named again.
        opened.manifest(name)
    except (NotFound, Damaged):
        return None
    # What is damaged is not named once more: without a former one, all is stored anew.
    return None if archive_damage.suffers(copy.repository, opened, name) else former


def _can_compare(copy: S3Copy, former: S3Copy) -> bool:
    """Whether AWS may still have the former's original; if it has not, it says so in time."""
    if copy.reads_all or former.original_region != copy.original_region:
        return False
    rows = Snapshot.objects.filter(aws_ref=former.original_ref, region=former.original_region)
    return (
        not rows.exists()
        or rows.filter(status=SnapshotStatus.SUCCEEDED, delete_requested_at=None).exists()
    )


def _ranges(copy: S3Copy) -> Iterator[S3CopyRange]:
    pages = -(-blocks_of(_size_gib(copy)) // PAGE_BLOCKS)
    least = _LEAST_PAGES_COMPARED if copy.compared_with else _LEAST_PAGES
    length = max(least, -(-pages // _MOST_RANGES))
    for first in range(0, pages, length):
        last = min(first + length, pages) - 1
        yield S3CopyRange(copy=copy, first_page=first, last_page=last, due_at=clock.now())


def _size_gib(copy: S3Copy) -> int:
    if not copy.snapshot.size_gib:
        raise Fault(FaultKind.INVALID, f"the size of {copy.original_ref} is not known")
    return copy.snapshot.size_gib


def _publish(copy: S3Copy) -> None:
    """Put the manifest, and only then say that the snapshot is archived."""
    opened = repositories.open_archive(copy.repository)
    if copy.began_at is None or opened.store.now() - copy.began_at > MOST_COPY - _MARGIN:
        _begin_anew(copy)
        return
    former = former_of(copy, opened) if copy.compared_with else None
    subject, changed = s3_manifests.subject_of(copy), _changed(copy)
    try:
        manifest = writer.publish(opened, subject, copy.began_at, changed, former)
    except NameTaken:
        # An earlier attempt came so far, unless somebody else has had the same idea.
        manifest = opened.manifest(s3_manifests.name_of(copy))
        if not s3_manifests.is_of(manifest, copy):
            _begin_anew(copy)
            return
    _succeed(copy, manifest)
    with suppress(ArchiveError, Fault):  # an index may lack anything
        s3_blocks.note(opened, copy, changed)


def _changed(copy: S3Copy) -> dict[int, PagePlace | None]:
    found: dict[int, PagePlace | None] = {}
    for pages in copy.ranges.order_by("first_page").values_list("pages", flat=True):
        found |= dict(msgspec.convert(pages, list[tuple[int, PagePlace | None]]))
    return found


@transaction.atomic
def _succeed(copy: S3Copy, manifest: Manifest) -> None:
    size = manifest.blocks * BLOCK_BYTES
    stored = sum(copy.ranges.values_list("stored_bytes", flat=True))
    transitions.move(
        copy,
        S3CopyPhase.CLOSED,
        outcome=CopyOutcome.SUCCEEDED,
        size_bytes=size,
        stored_bytes=stored,
        blocks_read=_blocks_read(copy),
        error="",
        due_at=None,
    )
    copy.ranges.all().delete()
    Snapshot.objects.filter(pk=copy.snapshot_id).update(
        aws_ref=manifest.name,
        status=SnapshotStatus.SUCCEEDED,
        progress_percent=100,
        finished_at=clock.now(),
    )
    S3Repository.objects.filter(pk=copy.repository_id).update(
        size_bytes=F("size_bytes") + size, stored_bytes=F("stored_bytes") + stored
    )
    _log("s3_copy_succeeded", copy, size=amounts.size(size), stored=amounts.size(stored))
    _wake(copy)


def _wake(copy: S3Copy) -> None:
    """With its last copy the run is over; how far it is until then is looked at now and then."""
    if copy.backup_id is None:
        return
    # Locked, so that of two that end at once the second sees the first.
    Backup.objects.select_for_update(no_key=True).filter(pk=copy.backup_id).first()
    if not S3Copy.objects.filter(backup=copy.backup_id).exclude(phase=S3CopyPhase.CLOSED).exists():
        jobs.wake_s3([copy.backup_id])


@transaction.atomic
def _begin_anew(copy: S3Copy, **changes: Any) -> None:
    begun = {"compared_with": "", "due_at": clock.now(), "blocks_read": _blocks_read(copy)}
    transitions.move(copy, S3CopyPhase.PLANNED, **begun, **changes)
    copy.ranges.all().delete()
    jobs.defer_s3_copies([copy.pk])


def _blocks_read(copy: S3Copy) -> int:
    """How many it were up to now, before its ranges go."""
    return copy.blocks_read + sum(copy.ranges.values_list("blocks_read", flat=True))


def _log(code: str, copy: S3Copy, **values: Any) -> None:
    events.log(
        code,
        backup=copy.snapshot.backup,
        snapshot=copy.original_ref,
        resource=copy.snapshot.resource_id,
        **values,
    )
