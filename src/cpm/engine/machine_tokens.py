"""Who a worker machine is: the token that it finds, and the one that it gets for that."""

import hmac
import secrets
from datetime import timedelta
from hashlib import sha256

from cpm.engine import machine_launch, machines, transitions
from cpm.engine.queue import Overtaken
from cpm.kernel import clock
from cpm.models.machines import MachinePhase, WorkerMachine

# Signs of life are written this often at most.
_SEEN = timedelta(seconds=5)


class NotYours(Exception):
    """A token that opens nothing, or nothing any longer."""


class NotYet(Exception):
    """The server does not know yet which instance the machine is; ask again."""


def enrol(token: str, instance_id: str) -> str:
    """Exchange the token of the user data, which counts once, for another; returns that.

    Who comes second, be it the machine itself, shows that somebody else has read the user data: the
    machine is ended. Raises `NotYours` and `NotYet`.
    """
    machine = _expected(token)
    if machine is None:
        raise NotYours
    if machine.phase == MachinePhase.STARTING:
        raise NotYet
    if machine.instance_id != instance_id:
        raise NotYours
    if machine.enrolled_at is not None:
        machines.end(machine, f"the token of machine {instance_id} was used twice")
        raise NotYours
    given, now = secrets.token_urlsafe(32), clock.now()
    try:
        transitions.change(
            machine,
            enrolled_at=now,
            seen_at=now,
            worked_at=now,
            token_hash=_hashed(given),
            due_at=now + machines.LOOK,
        )
    except Overtaken:
        raise NotYet from None
    return given


def machine_of(token: str) -> WorkerMachine:
    """The machine that was given the token; it has given a sign of life. Raises `NotYours`."""
    now = clock.now()
    running = WorkerMachine.objects.filter(
        token_hash=_hashed(token),
        phase=MachinePhase.RUNNING,
        worker__isnull=False,
        deadline_at__gt=now,
    )
    machine = running.select_related("account__assume_from_account", "worker").first()
    if machine is None:
        raise NotYours
    if machine.seen_at is None or machine.seen_at < now - _SEEN:
        WorkerMachine.objects.filter(pk=machine.pk).update(seen_at=now)
    return machine


def _expected(token: str) -> WorkerMachine | None:
    """The machine whose user data has the token: of the few that there are."""
    phases = [MachinePhase.STARTING, MachinePhase.RUNNING]
    for machine in WorkerMachine.objects.filter(phase__in=phases).select_related("worker__user"):
        if hmac.compare_digest(machine_launch.enrolment_token(machine).encode(), token.encode()):
            return machine
    return None


def _hashed(token: str) -> bytes:
    return sha256(token.encode()).digest()
