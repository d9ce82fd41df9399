"""Whatever dies at whatever point: what was wanted is done once, and the record says so."""

import random
from collections.abc import Callable

import pytest

from cpm.models.backups import Backup
from tests.crash.death import Fate
from tests.crash.dr_stories import DrStory, EncryptedDrStory, MovingStory, UndoneDrStory
from tests.crash.notice_stories import NoticeStory
from tests.crash.stories import (
    BackupStory,
    DeletionStory,
    InitialAmiRecoveryStory,
    InstanceRecoveryStory,
    InventoryStory,
    Story,
    UndoneRecoveryStory,
    VolumeRecoveryStory,
    with_initial_ami,
)
from tests.crash.tag_stories import CleanupStory, ScanStory
from tests.crash.telling import crash_at_every_point, tell
from tests.crash.time import TimedWorld


def test_a_backup_survives_a_crash_at_every_point(world: TimedWorld) -> None:
    crash_at_every_point(world, lambda: BackupStory(world))


def test_a_deletion_survives_a_crash_at_every_point(world: TimedWorld) -> None:
    kept = protected(world)
    crash_at_every_point(world, lambda: DeletionStory(world, kept))


@pytest.mark.parametrize("behavior", ["F", "D"])
def test_the_recovery_of_a_volume_survives_a_crash_at_every_point(
    world: TimedWorld, behavior: str
) -> None:
    # To switch without deleting is the beginning of `D`.
    backup = protected(world)
    crash_at_every_point(world, lambda: VolumeRecoveryStory(world, backup, behavior))


def test_what_a_failed_recovery_made_is_taken_back_wherever_it_crashes(world: TimedWorld) -> None:
    backup = protected(world)
    crash_at_every_point(world, lambda: UndoneRecoveryStory(world, backup))


def test_the_recovery_of_an_instance_survives_a_crash_at_every_point(world: TimedWorld) -> None:
    backup = protected(world)
    crash_at_every_point(world, lambda: InstanceRecoveryStory(world, backup))


def test_an_inventory_survives_a_crash_at_every_point(world: TimedWorld) -> None:
    crash_at_every_point(world, lambda: InventoryStory(world))


def test_a_scan_of_tags_survives_a_crash_at_every_point(world: TimedWorld) -> None:
    crash_at_every_point(world, lambda: ScanStory(world))


def test_a_cleanup_survives_a_crash_at_every_point(world: TimedWorld) -> None:
    crash_at_every_point(world, lambda: CleanupStory(world))


def test_what_is_told_survives_a_crash_at_every_point(world: TimedWorld) -> None:
    crash_at_every_point(world, lambda: NoticeStory(world))


@pytest.mark.parametrize("make", [MovingStory, DrStory, UndoneDrStory])
def test_copies_elsewhere_survive_a_crash_at_every_point(
    world: TimedWorld, make: Callable[[TimedWorld], Story]
) -> None:
    crash_at_every_point(world, lambda: make(world))


def test_a_launch_of_an_initial_ami_survives_a_crash_at_every_point(world: TimedWorld) -> None:
    backup = with_initial_ami(world)
    crash_at_every_point(world, lambda: InitialAmiRecoveryStory(world, backup))


@pytest.mark.parametrize("seed", range(3))
def test_a_server_that_dies_again_and_again_gets_there_in_the_end(
    world: TimedWorld, seed: int
) -> None:
    chance = random.Random(seed)
    backup = protected(world)
    stories: list[Callable[[], Story]] = [
        lambda: BackupStory(world),
        lambda: VolumeRecoveryStory(world, backup, "S"),
        lambda: InstanceRecoveryStory(world, backup),
        lambda: DeletionStory(world, backup),
        lambda: EncryptedDrStory(world),
    ]
    for make in stories:
        # Even the shortest dies twice; after that it is chance.
        fate = Fate(lambda passed: len(passed) in (3, 6) or chance.random() < 0.2)
        assert tell(world, make, fate) > 1


def protected(world: TimedWorld) -> Backup:
    """A backup to recover from."""
    return world.backup(BackupStory(world).policy)
