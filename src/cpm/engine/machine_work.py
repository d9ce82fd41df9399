"""What worker machines ask for, and what they tell: claims, checkpoints, keys, blocks, the budget.

A range is theirs from the claim until it is done, given back, or taken away; what is told by who
has it no longer changes nothing.
"""

from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from django.db import connection, transaction
from django.db.models import QuerySet

from cpm.archive.errors import ArchiveError, Damaged, LineageBroken
from cpm.aws import lending
from cpm.engine import accounts, machine_copies, machine_restores, machines, s3_blocks
from cpm.engine.budget import SharedBudget
from cpm.engine.machine_rights import Way
from cpm.engine.machine_tokens import NotYours
from cpm.engine.queue import Overtaken
from cpm.kernel import clock
from cpm.kernel.faults import Fault, FaultKind
from cpm.machine import wire
from cpm.models.accounts import Account
from cpm.models.machines import WorkerMachine

log = structlog.get_logger(__name__)

# How soon a machine asks again when there is nothing to do.
ASK_AGAIN_SECONDS = 5.0
# So many ranges that it gives back one after the other, without a checkpoint.
MOST_FAULTS = 5
# A machine that gives back what has failed gets it again no sooner.
_PAUSE = timedelta(seconds=30)
# What the repository's or the snapshot's side cannot lend keys for will pass.
_PASSING = (FaultKind.THROTTLED, FaultKind.TRANSIENT, FaultKind.UNKNOWN)


class Kind(Protocol):
    """What is done with the ranges of one kind: those of copies, or those of restores."""

    def of(self, machine: WorkerMachine) -> QuerySet[Any]:
        """Those of the machine's that are still wanted, with all that they are about."""
        ...

    def assignment(self, piece: Any) -> wire.Assignment:
        """What there is to do. Raises `ArchiveError` and Fault where the repository is shut."""
        ...

    def way(self, piece: Any, side: wire.Side) -> Way:
        """How a machine gets at one side of it."""
        ...

    def save(self, piece: Any, told: wire.Told) -> None:
        """Keep a checkpoint. Raises Overtaken."""
        ...

    def change(self, piece: Any, **changes: Any) -> None:
        """Change a range that is still as it was read. Raises Overtaken."""
        ...

    def fail(self, piece: Any, error: ArchiveError | Fault) -> None:
        """Have it tried again if it is worth that. Raises Overtaken."""
        ...


_KINDS: dict[wire.Kind, Kind] = {"copy": machine_copies, "restore": machine_restores}


def claim(machine: WorkerMachine, _told: wire.Alive) -> wire.Claimed:
    """The next range that the machine is to do, if there is one."""
    with transaction.atomic():
        kind, piece = _next(machine)
        if kind is None:
            return wire.Claimed(wait_seconds=ASK_AGAIN_SECONDS)
        now = clock.now()
        kind.change(piece, claimed_at=now)
        WorkerMachine.objects.filter(pk=machine.pk).update(worked_at=now)
    try:
        return wire.Claimed(assignment=kind.assignment(piece))
    except (ArchiveError, Fault) as error:
        _fail(kind, piece, error)
    return wire.Claimed(wait_seconds=ASK_AGAIN_SECONDS)


def checkpoint(machine: WorkerMachine, told: wire.Told) -> wire.Answered:
    """Keep how far the machine has come with a range; says whether to go on with it."""
    over = wire.Answered(version=told.held.version, go_on=False)
    kind = _KINDS[told.held.kind]
    # What is done is not claimed any longer; it may be told again all the same.
    piece = kind.of(machine).filter(pk=told.held.range_id).first()
    if piece is None:
        return over
    if not _is_told_already(piece, told):
        if piece.version != told.held.version:
            return over
        try:
            kind.save(piece, told)
        except Overtaken:
            return over
        WorkerMachine.objects.filter(pk=machine.pk).update(worked_at=clock.now(), attempts=0)
        if told.is_done:
            machines.has_worked(machine)
    return wire.Answered(version=piece.version, go_on=True)


def failed(machine: WorkerMachine, told: wire.Failed) -> wire.Answered:
    """The machine gives a range back, with its reason."""
    kind = _KINDS[told.held.kind]
    piece = _claimed(machine, told.held).filter(version=told.held.version).first()
    if piece is not None:
        log.info("range.given_back", range=piece.pk, reason=told.reason, message=told.message)
        if told.reason == "stopped":
            kind.change(piece, machine=None, claimed_at=None, due_at=clock.now())
        else:
            _fail(kind, piece, _error_of(told))
        if told.reason == "fault":
            _count_fault(machine, told.message)
    return wire.Answered(version=told.held.version, go_on=False)


def keys(machine: WorkerMachine, wish: wire.Wish) -> wire.Lent:
    """Keys for one side of a range that the machine has, narrowed to what that needs.

    Where AWS lends none, the machine is of no use and is ended. Raises `NotYours` and Fault.
    """
    piece = _claimed(machine, wish.held).first()
    if piece is None:
        raise NotYours
    try:
        return _lent(machine, _KINDS[wish.held.kind].way(piece, wish.side))
    except Fault as fault:
        if fault.kind not in _PASSING:
            machines.give_up_on(machine, f"no keys can be lent to worker machines: {fault}")
            raise NotYours from None
        raise


def index(machine: WorkerMachine, held: wire.Held) -> wire.Index:
    """What the repository of a copy that the machine has a range of may have of blocks already."""
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
    return wire.GoOn(held=[each for each in told.held if _prolong(machine, each, due_at)])


def _prolong(machine: WorkerMachine, held: wire.Held, due_at: datetime) -> bool:
    """Keep others from a range for a while, if it is the machine's."""
    # A checkpoint may have been told since.
    still = _claimed(machine, held).filter(version__gte=held.version)
    return bool(still.update(due_at=due_at))


def _next(machine: WorkerMachine) -> tuple[Kind | None, Any]:
    """What it is to begin with; whoever waits for a restore waits longest."""
    for kind in (machine_restores, machine_copies):
        waiting = kind.of(machine).filter(is_done=False, claimed_at=None, due_at__isnull=False)
        rows = waiting.select_for_update(of=("self",), skip_locked=True)
        piece = rows.order_by("pk").first()
        if piece is not None:
            return kind, piece
    return None, None


def _claimed(machine: WorkerMachine, held: wire.Held) -> QuerySet[Any]:
    """The range, if the machine is at it."""
    return _KINDS[held.kind].of(machine).filter(pk=held.range_id, claimed_at__isnull=False)


def _repository_of(machine: WorkerMachine, held: wire.Held) -> int | None:
    """Where the copy goes, if the machine is at the range."""
    piece = _claimed(machine, held).first() if held.kind == "copy" else None
    return piece.copy.repository_id if piece is not None else None


def _is_told_already(piece: Any, told: wire.Told) -> bool:
    """Whether this is what was kept last: the machine has not heard the answer."""
    if piece.version != told.held.version + 1:
        return False
    return bool(piece.is_done if told.is_done else piece.block == told.progress.block)


def _fail(kind: Kind, piece: Any, error: ArchiveError | Fault) -> None:
    """It is tried again, by whomever, if it is worth that. Raises Overtaken."""
    kind.change(piece, machine=None, claimed_at=None, due_at=clock.now() + _PAUSE)
    kind.fail(piece, error)


def _error_of(told: wire.Failed) -> ArchiveError | Fault:
    if told.reason == "lineage":
        return LineageBroken(told.message)
    if told.reason == "damage":
        return Damaged(told.message, "a worker machine has found it")
    return Fault(told.kind, told.message)


def _count_fault(machine: WorkerMachine, message: str) -> None:
    """A machine that gets nowhere, since it cannot reach AWS or may not, is given up."""
    WorkerMachine.objects.filter(pk=machine.pk).update(attempts=machine.attempts + 1)
    if machine.attempts + 1 >= MOST_FAULTS:
        machines.give_up_on(machine, f"machine {machine.instance_id} gets nowhere: {message}")


def _lent(machine: WorkerMachine, way: Way) -> wire.Lent:
    aws = accounts.aws_of(way.account, way.region)
    lent = lending.lend(aws, f"cpm-machine-{machine.pk}", way.policy(aws.partition))
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
