"""Whatever dies at whatever point: what was wanted is done once, and the record says so."""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import pytest

from cpm.engine import queue
from cpm.models.backups import Backup
from cpm.models.budgets import ApiBudget
from tests.crash.death import AtNewKind, Fate, Killed, is_number, mortal
from tests.crash.dr_stories import DrStory, EncryptedDrStory, MovingStory, UndoneDrStory
from tests.crash.notice_stories import NoticeStory
from tests.crash.s3_stories import S3Story, Shelf
from tests.crash.stories import (
    BackupStory,
    DeletionStory,
    InitialAmiRecoveryStory,
    InstanceRecoveryStory,
    InventoryStory,
    Story,
    UndoneRecoveryStory,
    VolumeRecoveryStory,
    check_quiet,
    with_initial_ami,
)
from tests.crash.tag_stories import CleanupStory, ScanStory
from tests.crash.time import TimedWorld

Told = TypeVar("Told", bound=Story)


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


def test_a_copy_in_s3_survives_a_crash_at_every_point(world: TimedWorld) -> None:
    shelf = Shelf(world)
    crash_at_every_point(world, lambda: S3Story(shelf))


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


def crash_at_every_point(world: TimedWorld, make: Callable[[], Story]) -> None:
    """Tell the story again and again, with a crash at the first and the last point of each kind."""
    met: set[str] = set()
    while tell(world, make, fate := Fate(AtNewKind(met))):
        pass
    for kind, count in Counter(fate.passed).items():
        if count > 1:
            tell(world, make, Fate(partial(is_number, count, kind)))


def tell(world: TimedWorld, make: Callable[[], Told], fate: Fate) -> int:
    """Tell a story to its end, through all crashes that are its fate; says how many."""
    # What is under way, and cleanup, now and then, are no part of the story.
    world.work()
    story = make()
    # Nor are the calls of those before it.
    ApiBudget.objects.all().delete()
    crashes = 0
    try:
        while not comes_to_its_end(world, story, fate):
            crashes += 1
            queue.take_over_stalled(silent_seconds=0)
        check_quiet()
        story.check()
    except Exception as error:
        error.add_note(str(fate))
        raise
    return crashes


def comes_to_its_end(world: TimedWorld, story: Story, fate: Fate) -> bool:
    """Work on the story until nothing is open, or until the process dies."""
    try:
        with mortal(fate):
            story.ask()
            world.drain()
    except Killed:
        return False
    return True
