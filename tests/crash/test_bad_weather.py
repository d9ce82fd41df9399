"""AWS refuses, loses answers, lists late: what was wanted is still done once."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from cpm.models.backups import Backup, BackupOutcome
from cpm.models.snapshots import SnapshotStatus
from tests.crash.dr_stories import EncryptedDrStory
from tests.crash.stories import (
    BackupStory,
    InitialAmiRecoveryStory,
    InstanceRecoveryStory,
    Story,
    VolumeRecoveryStory,
    check_quiet,
    with_initial_ami,
)
from tests.crash.time import TimedWorld

Told = TypeVar("Told", bound=Story)

# Every call that changes something meets the fault once; those that only read do not.
CALLS = (
    *("CreateSnapshot", "CreateSnapshots", "CreateVolume", "AttachVolume", "DetachVolume"),
    *("DeleteVolume", "RegisterImage", "RunInstances", "CreateTags", "DeregisterImage"),
    *("StopInstances", "ModifyInstanceAttribute", "StartInstances"),
    *("CopySnapshot", "ModifySnapshotAttribute", "DeleteSnapshot"),
)
FAULTS: dict[str, list[dict[str, Any]]] = {
    "throttle": [{"kind": "throttle"}],
    "500": [{"kind": "500"}],
    "503": [{"kind": "503"}],
    "denied for a while": [{"kind": "denied"}],
    "cut before": [{"kind": "hang", "seconds": 0.2}],
    "cut after": [{"kind": "lost"}],
    "listed late": [{"kind": "unlisted", "seconds": 20}],
    "cut after and listed late": [{"kind": "unlisted", "seconds": 20}, {"kind": "lost"}],
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wanted_is_done_once_in_spite_of_faults(world: TimedWorld, name: str) -> None:
    backup = tell(world, BackupStory, FAULTS[name]).policy.backups.get()
    tell(world, lambda world: VolumeRecoveryStory(world, backup, "D"), FAULTS[name])
    tell(world, lambda world: InstanceRecoveryStory(world, backup), FAULTS[name])
    tell(world, EncryptedDrStory, FAULTS[name])


@pytest.mark.parametrize("name", FAULTS)
def test_an_initial_ami_is_launched_once_in_spite_of_faults(world: TimedWorld, name: str) -> None:
    backup = with_initial_ami(world)
    tell(world, lambda world: InitialAmiRecoveryStory(world, backup), FAULTS[name])


def test_snapshots_that_somebody_deletes_while_they_are_made_are_told_of(
    world: TimedWorld,
) -> None:
    world.simulator.config(pending=timedelta(hours=1).total_seconds())
    story = BackupStory(world)
    story.ask()
    world.work()
    backup = Backup.objects.get(policy=story.policy)
    gone, *rest = sorted(backup.snapshots.values_list("aws_ref", flat=True))
    assert gone
    world.ec2().delete_snapshot(SnapshotId=gone)
    world.drain()
    check_quiet()
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.PARTIAL
    lost = backup.snapshots.get(aws_ref=gone)
    assert lost.status == SnapshotStatus.FAILED
    assert lost.error
    good = backup.snapshots.filter(aws_ref__in=rest, status=SnapshotStatus.SUCCEEDED)
    assert good.count() == len(rest)


def tell(
    world: TimedWorld, make: Callable[[TimedWorld], Told], faults: Sequence[dict[str, Any]]
) -> Told:
    """Tell a story in this weather."""
    story = make(world)
    rules = [{"op": f"ec2:{call}", "times": 1, **each} for call in CALLS for each in faults]
    world.simulator.faults(rules)
    story.ask()
    world.drain()
    world.simulator.faults([])
    check_quiet()
    story.check()
    return story
