"""Runs that copy to S3, and how far their machines are."""

from collections.abc import Callable

from cpm.engine import tick
from cpm.kernel import clock
from cpm.models.backups import Backup, CopyStatus
from cpm.models.machines import MachinePhase, WorkerMachine
from tests.engine.archiving import Vault, s3_policy, volume
from tests.engine.machines.host import Machine
from tests.engine.world import World, volume_target


def run(world: World, vault: Vault, source: str = "") -> Backup:
    """Run a policy that copies to S3, until its copies wait for a machine, or are made."""
    backup = tick.run_now(s3_policy(vault, volume_target(source or volume(world))))
    until(world, lambda: machine_phase() == MachinePhase.RUNNING or is_over(backup))
    return backup


def until(world: World, condition: Callable[[], bool]) -> None:
    """Work on, moving the clock to what is due next, until the condition holds."""
    for _ in range(200):
        world.work()
        if condition():
            return
        assert world.next_look()
    raise AssertionError("it does not come about")


def is_over(backup: Backup) -> bool:
    """Whether its copies are made, or given up."""
    backup.refresh_from_db()
    return backup.s3_status not in (CopyStatus.NONE, CopyStatus.IN_PROGRESS)


def machine_phase() -> str:
    """Where the newest machine stands."""
    newest = WorkerMachine.objects.order_by("-pk").first()
    return newest.phase if newest else ""


def is_running() -> bool:
    """Whether AWS has launched the newest machine."""
    return machine_phase() == MachinePhase.RUNNING


def work_until(world: World, condition: Callable[[], bool], machine: Machine) -> None:
    """Let the server and the machine work, each at its own speed."""

    def look() -> bool:
        world.work()
        return condition() or machine.process.poll() is not None

    assert clock.wait_until(look, timeout_seconds=120, interval_seconds=0.1), machine.log
    assert condition(), machine.log


def let_idle(world: World, machine: Machine) -> None:
    """Let time pass, no faster than the machine gives signs of life, until it is ended."""
    while machine_phase() == MachinePhase.RUNNING:
        row = WorkerMachine.objects.latest("pk")
        world.move_to(row.due_at or clock.now())
        now = clock.now()
        seen = WorkerMachine.objects.filter(pk=row.pk, seen_at__gte=now)
        assert clock.wait_until(seen.exists, timeout_seconds=60), machine.log
        world.work()
