"""The archive's data goes, comes back and is looked after, whatever dies at whatever point."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cpm.archive import collector, target
from cpm.engine import restore_ranges
from cpm.engine.settings import Cleanup
from cpm.kernel import clock, times
from tests.crash.care_stories import (
    DamageStory,
    GarbageStory,
    Lost,
    RebuildStory,
    VerificationStory,
    Yard,
)
from tests.crash.restore_stories import (
    InstanceFromS3Story,
    LostFromS3Story,
    SnapshotFromS3Story,
    VolumeFromS3Story,
    archived_instance,
    archived_volume,
    lose_packs,
)
from tests.crash.s3_stories import S3Story, Shelf
from tests.crash.telling import crash_again_and_again, crash_at_every_point
from tests.crash.time import TimedWorld


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers write down after each block how far they are."""
    monkeypatch.setattr(target, "_STRIDE", 1)
    monkeypatch.setattr(restore_ranges, "CHECKPOINT_SECONDS", 0.0)


def test_a_copy_survives_a_crash_at_every_point(world: TimedWorld) -> None:
    shelf = Shelf(world)
    crash_at_every_point(world, lambda: S3Story(shelf))


def test_the_recovery_of_a_volume_survives_a_crash_at_every_point(world: TimedWorld) -> None:
    backup = archived_volume(world)
    crash_at_every_point(world, lambda: VolumeFromS3Story(world, backup))


def test_a_snapshot_and_an_instance_come_back_though_the_server_dies_again_and_again(
    world: TimedWorld,
) -> None:
    # Most of their points are those of a volume, and of instances that come back otherwise.
    volume, instance = archived_volume(world), archived_instance(world)
    crash_again_and_again(world, lambda: SnapshotFromS3Story(world, volume))
    crash_again_and_again(world, lambda: InstanceFromS3Story(world, instance))


def test_what_a_failed_recovery_made_is_taken_back_wherever_it_crashes(world: TimedWorld) -> None:
    backup = archived_volume(world)
    lose_packs(backup)
    crash_at_every_point(world, lambda: LostFromS3Story(world, backup))


@pytest.fixture
def yard(world: TimedWorld, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Yard:
    """A repository that is looked after within days; nothing else comes round meanwhile."""
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, archive_verify_days=3, inventory_hours=0)
    monkeypatch.setattr(collector, "GRACE", timedelta(hours=1))
    Cleanup.change(last_cleanup_time=times.to_wire(clock.now() + timedelta(days=1000)))
    return Yard(world)


def test_garbage_goes_and_nothing_else_wherever_its_collection_crashes(
    world: TimedWorld, yard: Yard
) -> None:
    crash_at_every_point(world, lambda: GarbageStory(yard))


def test_a_verification_is_told_of_when_all_was_read_wherever_it_crashes(
    world: TimedWorld, yard: Yard
) -> None:
    crash_again_and_again(world, lambda: VerificationStory(yard))


def test_damage_is_told_of_wherever_its_verification_crashes(world: TimedWorld, yard: Yard) -> None:
    crash_again_and_again(world, lambda: DamageStory(yard))


def test_records_are_made_again_once_wherever_that_crashes(world: TimedWorld) -> None:
    lost = Lost(world)
    crash_at_every_point(world, lambda: RebuildStory(lost))
