"""The ranges of copies as worker machines know them, and how what they tell is kept."""

from datetime import timedelta

from django.conf import settings

from cpm.archive import packs
from cpm.archive.copying import Progress
from cpm.archive.errors import ArchiveError, Damaged, LineageBroken
from cpm.engine import accounts, repositories, s3_ranges
from cpm.engine.machines import TRUST
from cpm.kernel import clock
from cpm.kernel.faults import Fault, FaultKind
from cpm.machine import wire
from cpm.models.accounts import Account
from cpm.models.s3_copies import S3CopyRange

# A machine that gives back what has failed gets it again no sooner.
_PAUSE = timedelta(seconds=30)


def assignment(piece: S3CopyRange) -> wire.Assignment:
    """What there is to copy. Raises `ArchiveError` and Fault where the repository is shut."""
    copy, repository = piece.copy, piece.copy.repository
    account = copy.original.account if copy.original is not None else None
    opened = repositories.open_archive(repository)
    return wire.Assignment(
        range_id=piece.pk,
        version=piece.version,
        first_page=piece.first_page,
        last_page=piece.last_page,
        source=_place(account, copy.original_region),
        snapshot_id=copy.original_ref,
        compared_with=copy.compared_with,
        based_on=copy.based_on,
        archive=wire.Archive(
            id=opened.id,
            place=_place(repository.account, repository.aws_region),
            bucket=repository.bucket_name,
            prefix=repository.prefix,
            storage_class=copy.storage_class,
            key=opened.key.secret,
        ),
        after=wire.Progress(block=piece.block, open_page=bytes(piece.open_page)),
        pack_bytes=packs.DEFAULT_PACK_BYTES,
        level=settings.ENVIRONMENT.archive_level,
        aws_endpoint=settings.ENVIRONMENT.aws_endpoint,
    )


def save(piece: S3CopyRange, told: wire.Told) -> None:
    """Keep a checkpoint; raises Overtaken when the range has been taken away meanwhile."""
    if told.is_done:
        s3_ranges.finish(piece)
        return
    done = Progress(blocks=told.blocks, stored_bytes=told.stored_bytes)
    s3_ranges.keep(piece, done, told.progress.checkpoint, due_at=clock.now() + TRUST)


def is_told_already(piece: S3CopyRange, told: wire.Told) -> bool:
    """Whether this is what was kept last: the machine has not heard the answer."""
    if piece.version != told.held.version + 1:
        return False
    return piece.is_done if told.is_done else piece.block == told.progress.block


def give_back(piece: S3CopyRange, told: wire.Failed) -> None:
    """The machine cannot go on with it, or was stopped. Raises Overtaken."""
    if told.reason == "stopped":
        let_go(piece)
    elif told.reason == "lineage":
        fail(piece, LineageBroken(told.message))
    elif told.reason == "damage":
        fail(piece, Damaged(told.message, "a worker machine has found it"))
    else:
        fail(piece, Fault(told.kind, told.message))


def fail(piece: S3CopyRange, error: ArchiveError | Fault) -> None:
    """It is tried again, by whomever, if it is worth that. Raises Overtaken."""
    let_go(piece, after=_PAUSE)
    s3_ranges.fail(piece, error)


def let_go(piece: S3CopyRange, after: timedelta = timedelta()) -> None:
    """Nobody is at it any longer. Raises Overtaken."""
    s3_ranges.change(piece, machine=None, claimed_at=None, due_at=clock.now() + after)


def _place(account: Account | None, region: str) -> wire.Place:
    if account is None:
        raise Fault(FaultKind.INVALID, "the account was deleted from the server")
    return wire.Place(account=accounts.number_of(account), region=region)
