"""The archive's data goes, comes back and is looked after, whatever dies at whatever point."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cpm.archive import collector, target
from cpm.engine import machine_work, restore_ranges
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
from tests.crash.machine_stories import CopyByMachineStory, ReapStory, RestoreByMachineStory
from tests.crash.restore_stories import (
    InstanceFromS3Story,
    LostFromS3Story,
    SnapshotFromS3Story,
    VolumeFromS3Story,
    archived_instance,
    archived_volume,
    lose_packs,
)
from tests.crash.s3_stories import LineageStory, S3Story, Shelf
from tests.crash.telling import crash_again_and_again, crash_at_every_point
from tests.crash.time import TimedWorld

# Crashes of one telling, as these stories have many points.
AT_ONCE = 3


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers write down after each block how far they are."""
    monkeypatch.setattr(target, "_STRIDE", 1)
    monkeypatch.setattr(restore_ranges, "CHECKPOINT_SECONDS", 0.0)


def test_a_copy_survives_a_crash_at_every_point(world: TimedWorld) -> None:
    shelf = Shelf.with_copy(world)
    crash_at_every_point(world, lambda: S3Story(shelf), at_once=AT_ONCE)


def test_a_copy_that_reads_all_again_gets_there_though_the_server_dies_again_and_again(
    world: TimedWorld,
) -> None:
    shelf = Shelf.with_copy(world)
    crash_again_and_again(world, lambda: LineageStory(shelf))


def test_a_repository_is_made_at_its_first_use_though_the_server_dies_again_and_again(
    world: TimedWorld,
) -> None:
    shelf = Shelf.sealed(world)
    crash_again_and_again(world, lambda: S3Story(shelf))


def test_the_recovery_of_a_volume_survives_a_crash_at_every_point(world: TimedWorld) -> None:
    backup = archived_volume(world)
    crash_at_every_point(world, lambda: VolumeFromS3Story(world, backup), at_once=AT_ONCE)


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
    crash_at_every_point(world, lambda: LostFromS3Story(world, backup), at_once=AT_ONCE)


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
    crash_at_every_point(world, lambda: GarbageStory(yard), at_once=AT_ONCE)


def test_a_verification_is_told_of_when_all_was_read_wherever_it_crashes(
    world: TimedWorld, yard: Yard
) -> None:
    crash_again_and_again(world, lambda: VerificationStory(yard))


def test_damage_is_told_of_wherever_its_verification_crashes(world: TimedWorld, yard: Yard) -> None:
    crash_again_and_again(world, lambda: DamageStory(yard))


def test_records_are_made_again_once_wherever_that_crashes(world: TimedWorld) -> None:
    lost = Lost(world)
    crash_at_every_point(world, lambda: RebuildStory(lost))


@pytest.fixture
def with_machines(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that machines can reach, and ask often; nothing else comes round meanwhile."""
    monkeypatch.setattr(machine_work, "ASK_AGAIN_SECONDS", 0.01)
    settings.ENVIRONMENT = replace(
        settings.ENVIRONMENT, server_url="https://cpm.example.com", data=tmp_path, inventory_hours=0
    )


@pytest.mark.usefixtures("with_machines")
def test_a_machine_copies_and_is_ended_wherever_its_server_crashes(world: TimedWorld) -> None:
    shelf = Shelf.with_copy(world)
    crash_at_every_point(world, lambda: CopyByMachineStory(shelf), at_once=10)


@pytest.mark.usefixtures("with_machines")
def test_a_machine_puts_back_though_its_server_dies_again_and_again(world: TimedWorld) -> None:
    backup = archived_volume(world)
    crash_again_and_again(world, lambda: RestoreByMachineStory(world, backup))


@pytest.mark.usefixtures("with_machines")
def test_a_machine_that_nobody_knows_is_ended_wherever_that_crashes(world: TimedWorld) -> None:
    crash_at_every_point(world, lambda: ReapStory(world))
