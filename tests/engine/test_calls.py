"""What a run costs: AWS is called as seldom as it allows, and by rate limits every call counts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cpm.engine import tick, watchers
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupOutcome
from cpm.models.operations import Operation, OperationPhase
from cpm.models.policies import Target
from cpm.models.snapshots import SnapshotStatus
from tests.engine.world import OTHER_REGION, World, instance_target, volume_target

LONG_SECONDS = 100_000
# The time between two looks, so long that a slow machine does not make two rounds of one.
LOOK = timedelta(seconds=watchers.LONGEST_WAIT_SECONDS)


@pytest.fixture
def unhurried(world: World, settings: Any) -> World:
    """The world, with long times between two looks from the start."""
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, poll_seconds=LOOK.total_seconds())
    return world


def fleet(world: World, **estate: Any) -> list[Target]:
    """Targets for an estate of this size."""
    seeded = world.seed(**estate)
    return [
        *map(instance_target, seeded["instances"]),
        *map(volume_target, seeded["standalone"]),
    ]


def calls(world: World) -> dict[str, int]:
    """How often EC2 was called since the last time, by operation."""
    counted = world.simulator.counts()
    world.simulator.reset_counts()
    return {name.removeprefix("ec2:"): count for name, count in counted.items()}


def next_round(world: World) -> dict[str, int]:
    """The calls of the next look at what AWS works on."""
    calls(world)
    world.move_to(clock.now() + LOOK + timedelta(seconds=1))
    world.work()
    return calls(world)


def test_a_run_over_a_fleet_makes_no_call_too_many(world: World) -> None:
    policy = world.policy(*fleet(world, instances=12, volumes_per=3, standalone=5))
    calls(world)
    backup = world.backup(policy)
    assert backup.outcome == BackupOutcome.SUCCEEDED
    assert backup.snapshots.count() == 12 * 3 + 5
    assert calls(world) == {
        "DescribeInstances": 1,
        # Those of the instances, and those that are targets.
        "DescribeVolumes": 2,
        # What they were launched from.
        "DescribeImages": 1,
        "CreateSnapshots": 12,
        "CreateSnapshot": 5,
        "DescribeSnapshots": 1,
    }


def test_each_look_at_snapshots_that_take_long_is_one_call(unhurried: World) -> None:
    unhurried.simulator.config(pending=LONG_SECONDS)
    policy = unhurried.policy(*fleet(unhurried, instances=6, volumes_per=2, standalone=4))
    tick.run_now(policy)
    unhurried.work()
    rounds = [next_round(unhurried) for _ in range(5)]
    assert rounds == [{"DescribeSnapshots": 1}] * 5
    unhurried.simulator.finish()
    unhurried.drain()
    assert Backup.objects.get().outcome == BackupOutcome.SUCCEEDED


def test_what_takes_long_is_looked_at_less_often(world: World) -> None:
    world.simulator.config(pending=LONG_SECONDS)
    tick.run_now(world.policy(volume_target(world.volume())))
    world.work()
    calls(world)
    world.pass_time(timedelta(minutes=20))
    # Every five seconds would be 240 times, once a minute 20.
    assert 20 <= calls(world)["DescribeSnapshots"] <= 60
    world.simulator.finish()
    world.drain()


def test_policies_of_one_account_share_their_looks(unhurried: World) -> None:
    unhurried.simulator.config(pending=LONG_SECONDS)
    for _ in range(3):
        tick.run_now(unhurried.policy(*fleet(unhurried, instances=1, volumes_per=2, standalone=1)))
    unhurried.work()
    assert next_round(unhurried) == {"DescribeSnapshots": 1}
    unhurried.simulator.finish()
    unhurried.drain()


def test_regions_are_looked_at_each_for_itself(unhurried: World) -> None:
    unhurried.simulator.config(pending=LONG_SECONDS)
    here, there = unhurried.volume(), unhurried.volume(OTHER_REGION)
    tick.run_now(unhurried.policy(volume_target(here), volume_target(there, OTHER_REGION)))
    unhurried.work()
    assert next_round(unhurried) == {"DescribeSnapshots": 2}
    unhurried.simulator.finish()
    unhurried.drain()


def test_eleven_hundred_snapshots_in_flight_cost_two_calls_a_round(unhurried: World) -> None:
    unhurried.simulator.config(pending=LONG_SECONDS)
    tick.run_now(unhurried.policy(*fleet(unhurried, instances=55, volumes_per=20)))
    unhurried.work()
    rounds = [next_round(unhurried) for _ in range(2)]
    assert rounds == [{"DescribeSnapshots": 2}] * 2
    unhurried.simulator.finish()
    unhurried.drain()
    assert not Operation.objects.exclude(phase=OperationPhase.CLOSED).exists()
    done = Backup.objects.get().snapshots.filter(status=SnapshotStatus.SUCCEEDED)
    assert done.count() == 1100


def test_a_vanished_target_costs_no_call_for_each_of_the_others(world: World) -> None:
    targets = fleet(world, standalone=20)
    world.ec2().delete_volume(VolumeId=targets[0].resource_id)
    policy = world.policy(*targets)
    calls(world)
    world.backup(policy)
    made = calls(world)
    assert made["CreateSnapshot"] == 19
    assert made["DescribeVolumes"] == 2  # AWS fails the first, for the one that is not there
