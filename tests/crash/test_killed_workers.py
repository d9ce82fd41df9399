"""Workers are killed while AWS is being asked; whoever comes next finds out what became of it.

A call that hangs never reaches AWS. One that is late does its work when nobody waits for the
answer any longer.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from cpm.models.backups import Backup
from tests.crash.processes import Fleet, a_fleet, kill
from tests.crash.stories import (
    BackupStory,
    InstanceRecoveryStory,
    RetentionStory,
    Story,
    VolumeRecoveryStory,
    check_quiet,
    is_over,
)
from tests.crash.time import TimedWorld

HANG = {"kind": "hang", "seconds": 120}
LATE = {"kind": "delay", "seconds": 4}

Step = tuple[str, dict[str, object]]

BACKUP: list[Step] = [
    ("DescribeInstances", HANG),
    ("CreateSnapshot", HANG),
    ("CreateSnapshots", LATE),
    ("DescribeSnapshots", HANG),
    ("DeleteSnapshot", LATE),
]
VOLUME: list[Step] = [
    ("CreateVolume", LATE),
    ("DetachVolume", HANG),
    ("AttachVolume", LATE),
    ("DeleteVolume", HANG),
]
INSTANCE: list[Step] = [
    ("RegisterImage", LATE),
    ("RunInstances", LATE),
    ("DeregisterImage", HANG),
]


def test_a_backup_outlives_a_worker_killed_at_each_of_its_steps(
    world: TimedWorld, database_url: str, tmp_path: Path
) -> None:
    story = RetentionStory(world)
    with a_fleet(world, tmp_path, database_url) as fleet:
        tell(fleet, story, BACKUP)


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda world, backup: VolumeRecoveryStory(world, backup, "D"), VOLUME),
        (InstanceRecoveryStory, INSTANCE),
    ],
    ids=["volume", "instance"],
)
def test_a_recovery_outlives_a_worker_killed_at_each_of_its_steps(
    world: TimedWorld,
    database_url: str,
    tmp_path: Path,
    make: Callable[[TimedWorld, Backup], Story],
    steps: list[Step],
) -> None:
    story = make(world, world.backup(BackupStory(world).policy))
    with a_fleet(world, tmp_path, database_url) as fleet:
        tell(fleet, story, steps)


def tell(fleet: Fleet, story: Story, steps: list[Step]) -> None:
    """Tell the story, with a worker for each of the steps that dies there, and one to end it."""
    story.ask()
    for operation, fault in steps:
        die_at(fleet, operation, fault)
    fleet.world.simulator.faults([])
    worker = fleet.worker()
    fleet.wait_for(is_over)
    kill(worker)
    check_quiet()
    story.check()


def die_at(fleet: Fleet, operation: str, fault: dict[str, object]) -> None:
    """Start a worker, and kill it while it waits for the answer to the operation."""
    simulator = fleet.world.simulator
    simulator.faults([{"op": f"ec2:{operation}", "times": 1, **fault}])
    worker = fleet.worker()
    fleet.wait_for(lambda: bool(simulator.get("faults")[0]["times"] == 0))
    since = simulator.calls()[-1]["number"]
    kill(worker)
    if fault is LATE:
        fleet.wait_for(lambda: _has_ended(fleet, operation, since), time_passes=False)


def _has_ended(fleet: Fleet, operation: str, since: int) -> bool:
    return any(call["operation"] == operation for call in fleet.world.simulator.calls(since))
