"""What worker machines ask for, and what they tell: claims, checkpoints, keys, blocks, the budget.

A range is theirs from the claim until it is done, given back, or taken away; what is told by who
has it no longer changes nothing.
"""

from datetime import datetime

import structlog
from django.db import connection, transaction
from django.db.models import Q, QuerySet

from cpm.archive.errors import ArchiveError
from cpm.aws import lending
from cpm.engine import (
    accounts,
    machine_ranges,
    machine_rights,
    machines,
    s3_blocks,
    s3_copies,
    s3_ranges,
)
from cpm.engine.budget import SharedBudget
from cpm.engine.machine_tokens import NotYours
from cpm.engine.queue import Overtaken
from cpm.kernel import clock
from cpm.kernel.faults import Fault, FaultKind
from cpm.machine import wire
from cpm.models.accounts import Account
from cpm.models.machines import WorkerMachine
from cpm.models.s3_copies import S3Copy, S3CopyPhase, S3CopyRange

log = structlog.get_logger(__name__)

# How soon a machine asks again when there is nothing to do.
ASK_AGAIN_SECONDS = 5.0
# So many ranges that it gives back one after the other, without a checkpoint.
MOST_FAULTS = 5
# What the repository's or the snapshot's side cannot lend keys for will pass.
_PASSING = (FaultKind.THROTTLED, FaultKind.TRANSIENT, FaultKind.UNKNOWN)


def claim(machine: WorkerMachine, _told: wire.Alive) -> wire.Claimed:
    """The next range that the machine is to copy, if there is one."""
    with transaction.atomic():
        piece = _next(machine)
        if piece is None:
            return wire.Claimed(wait_seconds=ASK_AGAIN_SECONDS)
        now = clock.now()
        piece.claimed_at, piece.version = now, piece.version + 1
        piece.save(update_fields=["claimed_at", "version"])
        WorkerMachine.objects.filter(pk=machine.pk).update(worked_at=now)
    try:
        return wire.Claimed(assignment=machine_ranges.assignment(piece))
    except (ArchiveError, Fault) as error:
        machine_ranges.fail(piece, error)
    return wire.Claimed(wait_seconds=ASK_AGAIN_SECONDS)


def checkpoint(machine: WorkerMachine, told: wire.Told) -> wire.Answered:
    """Keep how far the machine has come with a range; says whether to go on with it."""
    over = wire.Answered(version=told.held.version, go_on=False)
    # What is done is not claimed any longer; it may be told again all the same.
    piece = _related(machine.ranges.all()).filter(pk=told.held.range_id).first()
    if piece is None or s3_ranges.is_late(piece.copy):
        return over
    if not machine_ranges.is_told_already(piece, told):
        if piece.version != told.held.version:
            return over
        try:
            machine_ranges.save(piece, told)
        except Overtaken:
            return over
        WorkerMachine.objects.filter(pk=machine.pk).update(worked_at=clock.now(), attempts=0)
        if told.is_done:
            machines.has_worked(machine)
    return wire.Answered(version=piece.version, go_on=True)


def failed(machine: WorkerMachine, told: wire.Failed) -> wire.Answered:
    """The machine gives a range back, with its reason."""
    piece = _claimed(machine).filter(pk=told.held.range_id, version=told.held.version).first()
    if piece is not None:
        log.info("range.given_back", range=piece.pk, reason=told.reason, message=told.message)
        machine_ranges.give_back(piece, told)
        if told.reason == "fault":
            _count_fault(machine, told.message)
    return wire.Answered(version=told.held.version, go_on=False)


def keys(machine: WorkerMachine, wish: wire.Wish) -> wire.Lent:
    """Keys for one side of a range that the machine has, narrowed to what its copy needs.

    Where AWS lends none, the machine is of no use and is ended. Raises `NotYours` and Fault.
    """
    piece = _related(_claimed(machine)).filter(pk=wish.held.range_id).first()
    if piece is None:
        raise NotYours
    try:
        return _lent(machine, piece.copy, wish.side)
    except Fault as fault:
        if fault.kind not in _PASSING:
            machines.give_up_on(machine, f"no keys can be lent to worker machines: {fault}")
            raise NotYours from None
        raise


def index(machine: WorkerMachine, held: wire.Held) -> wire.Index:
    """What the repository of a range that the machine has may have of blocks already."""
    repository_id = _repository_of(machine, held)
    if repository_id is None:
        return wire.Index()
    return wire.Index(beginnings=s3_blocks.beginnings(repository_id))


def near(machine: WorkerMachine, sought: wire.Sought) -> wire.Found:
    """Where that repository has a block, by the index, and its neighbours."""
    repository_id = _repository_of(machine, sought.held)
    if repository_id is None:
        return wire.Found()
    return wire.Found.of(s3_blocks.near(connection, repository_id, sought.digest))


def budget(machine: WorkerMachine, calls: wire.Calls) -> wire.Granted:
    """Take calls out of the budget that all share. Raises `NotYours` for others' accounts."""
    _refuse_foreign(machine, calls.place)
    place, most = calls.place, calls.patience_seconds
    wait_seconds = SharedBudget().reserve(
        place.account,
        place.region,
        calls.operation,
        tokens=calls.tokens,
        patience_seconds=most,
    )
    tokens = calls.tokens if wait_seconds <= most else 0
    return wire.Granted(tokens=tokens, wait_seconds=wait_seconds)


def throttled(machine: WorkerMachine, calls: wire.Calls) -> wire.Granted:
    """Learn that AWS has refused a call of the machine's. Raises `NotYours`, as `budget`."""
    _refuse_foreign(machine, calls.place)
    SharedBudget().throttled(calls.place.account, calls.place.region, calls.operation)
    return wire.Granted(tokens=0, wait_seconds=0.0)


def alive(machine: WorkerMachine, told: wire.Alive) -> wire.GoOn:
    """A sign of life; which of the ranges are still the machine's."""
    due_at = clock.now() + machines.TRUST
    still = [each.range_id for each in told.held if _prolong(machine, each, due_at)]
    return wire.GoOn(held=still)


def _prolong(machine: WorkerMachine, held: wire.Held, due_at: datetime) -> bool:
    """Keep others from a range for a while, if it is the machine's."""
    is_its = Q(pk=held.range_id, version=held.version, copy__phase=S3CopyPhase.RUNNING)
    return bool(_claimed(machine).filter(is_its).update(due_at=due_at))


def _next(machine: WorkerMachine) -> S3CopyRange | None:
    waiting = machine.ranges.filter(is_done=False, claimed_at=None)
    rows = _related(waiting.filter(copy__phase=S3CopyPhase.RUNNING))
    return rows.select_for_update(of=("self",), skip_locked=True).order_by("pk").first()


def _claimed(machine: WorkerMachine) -> QuerySet[S3CopyRange]:
    return machine.ranges.filter(claimed_at__isnull=False)


def _repository_of(machine: WorkerMachine, held: wire.Held) -> int | None:
    """Where the machine's range goes, if it has it still."""
    found = _claimed(machine).filter(pk=held.range_id)
    return found.values_list("copy__repository_id", flat=True).first()


def _related(rows: QuerySet[S3CopyRange]) -> QuerySet[S3CopyRange]:
    return rows.select_related(*(f"copy__{name}" for name in s3_copies.RELATED))


def _count_fault(machine: WorkerMachine, message: str) -> None:
    """A machine that gets nowhere, since it cannot reach AWS or may not, is given up."""
    WorkerMachine.objects.filter(pk=machine.pk).update(attempts=machine.attempts + 1)
    if machine.attempts + 1 >= MOST_FAULTS:
        machines.give_up_on(machine, f"machine {machine.instance_id} cannot copy: {message}")


def _lent(machine: WorkerMachine, copy: S3Copy, side: wire.Side) -> wire.Lent:
    if side == "source":
        aws = accounts.aws_of(machine.account, machine.region)
        policy = machine_rights.to_read(copy, aws.partition)
    else:
        aws = accounts.aws_of(copy.repository.account, copy.repository.aws_region)
        policy = machine_rights.to_write(copy, aws.partition)
    lent = lending.lend(aws, f"cpm-machine-{machine.pk}", policy)
    if lent.session_token is None or lent.expires_at is None:
        raise Fault(FaultKind.INVALID, "the keys do not end by themselves")
    return wire.Lent(
        access_key_id=lent.access_key_id,
        secret_access_key=lent.secret_access_key,
        session_token=lent.session_token,
        expires_at=lent.expires_at,
    )


def _refuse_foreign(machine: WorkerMachine, place: wire.Place) -> None:
    """A machine counts its calls against the accounts of its owner alone."""
    owners = Account.objects.filter(user=machine.account.user_id)
    if not owners.filter(aws_account_number=place.account).exists():
        raise NotYours
