"""Worker machines: who gets one, how it is launched, watched, and ended.

A machine is a row before AWS is asked for it, and is changed as operations are (see
docs/design/reconciliation.md): found again by its token, one call that changes anything a look.
What it is to do is assigned to it (`machine` of the ranges) and goes back when it ends.
"""

from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet

from cpm.aws.sessions import Aws
from cpm.engine import accounts, alerts, identity, jobs, machine_launch, operations, transitions
from cpm.engine.machine_launch import Unfit
from cpm.kernel import clock
from cpm.kernel.faults import Fault, FaultKind
from cpm.models.accounts import Account
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.machines import MachineOutcome, MachinePhase, WorkerMachine
from cpm.models.workers import Worker
from cpm.resources import machines as in_aws

log = structlog.get_logger(__name__)

# How long a machine may take until it says that it is there, and between two signs of life.
BOOT = timedelta(minutes=15)
SILENCE = timedelta(minutes=3)
# How long it is kept when there is nothing to do: the next copy may come soon.
IDLE = timedelta(minutes=5)
LOOK = timedelta(minutes=1)
# How long nobody else looks at a range because a machine has it, and says so.
TRUST = timedelta(minutes=10)
# How long AWS is asked for a machine before the server's own workers do the work.
LAUNCH = timedelta(minutes=10)
# So many machines in a row that came to nothing, and none is launched for a while.
MOST_FAILURES = 3
PAUSE = timedelta(hours=1)

_PASSING = (FaultKind.THROTTLED, FaultKind.TRANSIENT)
_NOT_CLOSED = (MachinePhase.PLANNED, MachinePhase.STARTING, MachinePhase.RUNNING)


def take(account: Account | None, region: str, ranges: QuerySet[Any]) -> bool:
    """Have a machine do these ranges, if there is to be one for the account and region.

    False where the server's own workers are to do it.
    """
    found = Worker.objects.filter(account=account, region=region)
    worker = found.select_related("account", "user").first()
    if worker is None or not _may_launch(worker):
        return False
    with transaction.atomic():
        machine = _open_machine(worker)
        # What it had claimed, and has told nothing of for long, it has lost; so has anybody else.
        due_at = clock.now() + TRUST
        left = ranges.filter(due_at__isnull=False)
        left.update(machine=machine, claimed_at=None, due_at=due_at, version=F("version") + 1)
        if machine.phase == MachinePhase.PLANNED:
            jobs.defer_machines([machine.pk])
    return True


def _may_launch(worker: Worker) -> bool:
    """Whether a machine may be asked for; where none could work, says so."""
    if worker.paused_until is not None and worker.paused_until > clock.now():
        return False
    try:
        machine_launch.check()
    except Unfit as reason:
        _pause(worker, str(reason))
        return False
    return True


def cause(worker: Worker) -> str:
    """The cause of alerts about a worker whose machines come to nothing."""
    return f"machines:worker:{worker.pk}"


def has_worked(machine: WorkerMachine) -> None:
    """The machine has finished something: its worker's troubles are over."""
    worker = Worker.objects.filter(machines=machine)
    if worker.exclude(failures=0, paused_until=None).update(failures=0, paused_until=None):
        alerts.resolve(f"machines:worker:{machine.worker_id}")


def wake(worker: Worker) -> None:
    """The configuration is about to go: its machine is looked at at once."""
    WorkerMachine.objects.filter(worker=worker, due_at__isnull=False).update(due_at=clock.now())


@jobs.LOOK_AT_MACHINE.runs
def look(machine_id: int) -> None:
    """Take a machine one step further, if it is due."""
    machine = _due(machine_id)
    if machine is not None:
        _STEPS[MachinePhase(machine.phase)](machine)


@jobs.LOOK_AT_MACHINE.gives_up
def give_up(machine_id: int) -> None:
    """Close a machine at which our own code fails again and again; it ends itself in time."""
    machine = _due(machine_id)
    if machine is not None:
        _close(machine, "an error of the server, which its log describes")


def end(machine: WorkerMachine, error: str = "") -> None:
    """Have AWS end it; from now on it may do nothing, and what it had is somebody else's."""
    with transaction.atomic():
        transitions.move(
            machine, MachinePhase.ENDING, error=error, token_hash=None, due_at=clock.now()
        )
        _release(machine)
        if error:
            log.warning("machine.lost", machine=machine.pk, reason=error)
            _count_failure(machine, error)
        jobs.defer_machines([machine.pk])


def give_up_on(machine: WorkerMachine, error: str) -> None:
    """No machine of this worker can do its work: end this one, and launch none for a while."""
    with transaction.atomic():
        end(machine, error)
        if machine.worker is not None:
            _pause(machine.worker, error)


def _due(machine_id: int) -> WorkerMachine | None:
    rows = WorkerMachine.objects.select_related("account__assume_from_account", "worker__user")
    return rows.filter(pk=machine_id, due_at__lte=clock.now()).first()


def _open_machine(worker: Worker) -> WorkerMachine:
    """The worker's machine, or the row of one that is to be."""
    is_there = WorkerMachine.objects.filter(worker=worker, phase__in=_NOT_CLOSED)
    machine = is_there.select_for_update(no_key=True).first()
    if machine is not None:
        return machine
    now = clock.now()
    new = WorkerMachine(
        worker=worker, account=worker.account, region=worker.region, planned_at=now, due_at=now
    )
    try:
        with transaction.atomic():
            new.save(force_insert=True)
    except IntegrityError:
        return is_there.select_for_update(no_key=True).get()
    return new


def _ask(machine: WorkerMachine) -> None:
    """Commit that AWS is being asked, then ask."""
    if machine.worker is None or not _has_work(machine):
        _close(machine, "")
        return
    try:
        aws = _aws(machine)
        wanted = in_aws.parameters(aws, machine_launch.choice(machine.worker))
        script = machine_launch.script(machine)
    except Fault as fault:
        _ask_later(machine, fault)
        return
    except Unfit as reason:
        _refuse(machine, str(reason))
        return
    transitions.move(
        machine,
        MachinePhase.STARTING,
        asked_at=clock.now(),
        attempts=machine.attempts + 1,
        due_at=_in(settings.ENVIRONMENT.settle_seconds),
    )
    try:
        marks = identity.machine_marks(machine)
        instance_id = in_aws.launch(aws, wanted, str(machine.token), marks, script)
    except Fault as fault:
        if not fault.effect_is_unknown:
            _ask_later(machine, fault)
        return
    _begin(machine, instance_id)


def _find(machine: WorkerMachine) -> None:
    """AWS may have been asked: find out, after it has had its time."""
    settled_at = (machine.asked_at or clock.now()) + timedelta(
        seconds=settings.ENVIRONMENT.settle_seconds
    )
    if clock.now() < settled_at:
        transitions.change(machine, due_at=settled_at)
        return
    try:
        instance_id = in_aws.find(_aws(machine), str(machine.token))
    except Fault as fault:
        _search_later(machine, fault)
        return
    if instance_id is not None:
        _begin(machine, instance_id)
    else:
        transitions.move(machine, MachinePhase.PLANNED, due_at=clock.now())
        jobs.defer_machines([machine.pk])


def _begin(machine: WorkerMachine, instance_id: str) -> None:
    now = clock.now()
    transitions.move(
        machine,
        MachinePhase.RUNNING,
        instance_id=instance_id,
        attempts=0,
        launched_at=now,
        worked_at=now,
        deadline_at=now + machine_launch.LIFETIME,
        due_at=now + BOOT,
    )
    log.info("machine.launched", machine=machine.pk, instance=instance_id)


def _watch(machine: WorkerMachine) -> None:
    """Whether it is to go on; if so, look again soon."""
    now = clock.now()
    reports_by = (machine.launched_at or now) + BOOT
    if machine.worker is None or now >= (machine.deadline_at or now):
        end(machine)
    elif machine.seen_at is None and now >= reports_by:
        end(machine, f"machine {machine.instance_id} has not reported to the server")
    elif machine.seen_at is None:
        transitions.change(machine, due_at=reports_by)
    elif now >= machine.seen_at + SILENCE:
        end(machine, f"machine {machine.instance_id} does not report any longer")
    elif now >= (machine.worked_at or now) + IDLE and not _has_work(machine):
        end(machine)
    else:
        transitions.change(machine, due_at=now + LOOK)


def _has_work(machine: WorkerMachine) -> bool:
    return any(left.exists() for left in _left(machine))


def _left(machine: WorkerMachine) -> list[QuerySet[Any]]:
    """What it has to do."""
    return [
        ranges.filter(due_at__isnull=False)
        for ranges in (machine.copy_ranges.all(), machine.restore_ranges.all())
    ]


def _finish(machine: WorkerMachine) -> None:
    """Have AWS end it; only AWS's word closes the row, or that it must have ended by itself."""
    try:
        in_aws.terminate(_aws(machine), machine.instance_id)
    except Fault as fault:
        itself_by = (machine.deadline_at or machine.planned_at) + LOOK
        if clock.now() < itself_by:
            changes = {"attempts": machine.attempts + 1, "due_at": _back_off(machine)}
            transitions.change(machine, **changes)
            log.warning("machine.not_ended", machine=machine.pk, reason=str(fault))
            return
    _close(machine, machine.error)


_STEPS = {
    MachinePhase.PLANNED: _ask,
    MachinePhase.STARTING: _find,
    MachinePhase.RUNNING: _watch,
    MachinePhase.ENDING: _finish,
}


def _ask_later(machine: WorkerMachine, fault: Fault) -> None:
    """AWS did nothing: try again if that passes, else leave the work to the server's own."""
    if fault.kind not in _PASSING or clock.now() >= machine.planned_at + LAUNCH:
        _refuse(machine, str(fault))
        return
    changes = {"error": str(fault), "due_at": _back_off(machine)}
    if machine.phase == MachinePhase.PLANNED:
        transitions.change(machine, attempts=machine.attempts + 1, **changes)
    else:
        transitions.move(machine, MachinePhase.PLANNED, **changes)


def _search_later(machine: WorkerMachine, fault: Fault) -> None:
    """Whether there is one cannot be seen now; the work need not wait for that."""
    if clock.now() >= machine.planned_at + machine_launch.LIFETIME:
        _close(machine, f"it is not known whether AWS has launched it: {fault}")
        return
    with transaction.atomic():
        transitions.change(machine, attempts=machine.attempts + 1, due_at=_back_off(machine))
        _release(machine)


def _refuse(machine: WorkerMachine, error: str) -> None:
    """There will be no such machine."""
    with transaction.atomic():
        _close(machine, error)
        if machine.worker is not None:
            _pause(machine.worker, error)


@transaction.atomic
def _close(machine: WorkerMachine, error: str) -> None:
    outcome = MachineOutcome.FAILED if error else MachineOutcome.SUCCEEDED
    transitions.move(
        machine, MachinePhase.CLOSED, outcome=outcome, error=error, token_hash=None, due_at=None
    )
    _release(machine)


def _release(machine: WorkerMachine) -> None:
    """What it had to do is due for anybody; after its row was changed, which new work waits for."""
    for left in _left(machine):
        left.update(machine=None, claimed_at=None, due_at=clock.now(), version=F("version") + 1)


def _count_failure(machine: WorkerMachine, error: str) -> None:
    worker = machine.worker
    if worker is None:
        return
    Worker.objects.filter(pk=worker.pk).update(failures=F("failures") + 1)
    worker.refresh_from_db(fields=["failures"])
    if worker.failures >= MOST_FAILURES:
        _pause(worker, error)


def _pause(worker: Worker, reason: str) -> None:
    """Launch none for a while: the server's own workers do it, and somebody is told."""
    until = clock.now() + PAUSE
    Worker.objects.filter(pk=worker.pk).update(failures=0, paused_until=until)
    alerts.raise_alert(
        cause(worker),
        user=worker.user,
        category=AlertCategory.S3_COPY,
        severity=AlertSeverity.WARNING,
        title=f"No worker machine for account {worker.account.name} in {worker.region}",
        message=f"{reason}. The server's own workers do its work; a machine is tried again at"
        f" {until:%Y-%m-%d %H:%M} UTC, or when the worker's settings have been changed.",
    )


def _aws(machine: WorkerMachine) -> Aws:
    aws = accounts.aws_of(machine.account, machine.region)
    return aws.on_behalf_of(f"machine-{machine.pk}")


def _back_off(machine: WorkerMachine) -> datetime:
    return _in(operations.back_off_seconds(machine.attempts))


def _in(seconds: float) -> datetime:
    return clock.now() + timedelta(seconds=seconds)
