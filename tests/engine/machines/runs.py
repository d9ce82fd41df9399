"""Runs that copy to S3, and how far their machines are."""

from collections.abc import Callable

from cpm.engine import (
    tick,
)
from cpm.models.backups import Backup, CopyStatus
from cpm.models.machines import MachinePhase, WorkerMachine
from tests.engine.archiving import Vault, s3_policy, volume
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
