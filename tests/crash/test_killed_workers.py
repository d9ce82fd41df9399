"""Workers are killed while AWS is being asked; whoever comes next finds out what became of it.

A call that hangs never reaches AWS. One that is late does its work when nobody waits for the
answer any longer.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from cpm.models.backups import Backup
from tests.crash.processes import HANG, LATE, Fleet, a_fleet, die_at, kill
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
        die_at(fleet, f"ec2:{operation}", fault)
    fleet.world.simulator.faults([])
    worker = fleet.worker()
    fleet.wait_for(is_over)
    kill(worker)
    check_quiet()
    story.check()
