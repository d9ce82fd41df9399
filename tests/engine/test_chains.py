"""A step of a chain begins when the step that it follows is as far as the order says."""

from datetime import timedelta

import pytest

from cpm.engine import orders, tick
from cpm.kernel import clock
from cpm.models.backups import Backup
from cpm.models.operations import Operation, OperationOutcome, OperationPhase
from cpm.resources.contract import Json, Once, Order
from tests.engine.world import REGION, World, volume_target

SUCCEEDED, CANCELLED = OperationOutcome.SUCCEEDED, OperationOutcome.CANCELLED
ABSENT = "vol-0123456789abcdef0"


def snapshot(volume_id: str, step: str, after: str = "", once: Once = Once.DONE) -> Order:
    spec: Json = {"volume_id": volume_id, "instance_id": "", "device": None, "tags": {}}
    return Order("snapshot", spec, step=step, after=after, once=once)


def place(world: World, *ordered: Order) -> Backup:
    """A backup with a chain of its own."""
    backup = tick.run_now(world.policy(volume_target(world.volume())))
    here = orders.Place("ebs_volume", world.account, REGION)
    backup.targets.create(kind="ebs_volume", resource_id="vol-1", region=REGION)
    deadline_at = clock.now() + timedelta(days=1)
    orders.place_snapshots(here, backup, [(backup.targets.get(), ordered)], deadline_at=deadline_at)
    return backup


def step(backup: Backup, name: str) -> Operation:
    return backup.operations.get(step=name)


@pytest.mark.parametrize("once", [Once.OVER, Once.UNDER_WAY])
def test_a_step_goes_ahead_whatever_became_of_the_one_before_it_where_that_is_wished(
    world: World, once: Once
) -> None:
    backup = place(
        world,
        snapshot(ABSENT, "first"),
        snapshot(world.volume(), "second", "first", once),
        snapshot(world.volume(), "third", "second"),
    )
    world.drain()
    assert step(backup, "first").outcome == OperationOutcome.FAILED
    assert step(backup, "second").outcome == step(backup, "third").outcome == SUCCEEDED


def test_what_follows_a_step_that_was_cancelled_goes_ahead_where_that_is_wished(
    world: World,
) -> None:
    backup = place(
        world,
        snapshot(ABSENT, "first"),
        snapshot(world.volume(), "second", "first"),
        snapshot(world.volume(), "third", "second", Once.OVER),
    )
    world.drain()
    assert step(backup, "second").outcome == CANCELLED
    assert step(backup, "third").outcome == SUCCEEDED


def test_a_step_that_goes_along_begins_while_aws_works_on_the_one_before_it(world: World) -> None:
    world.simulator.config(pending=100_000)
    backup = place(
        world,
        snapshot(world.volume(), "first"),
        snapshot(world.volume(), "along", "first", Once.UNDER_WAY),
        snapshot(world.volume(), "next", "first"),
    )
    world.work()
    assert step(backup, "first").phase == step(backup, "along").phase == OperationPhase.STARTED
    assert step(backup, "next").phase == OperationPhase.PLANNED
    world.simulator.config(pending=0)
    world.simulator.finish()
    world.drain()
    assert step(backup, "next").outcome == SUCCEEDED


def test_the_last_step_waits_for_all_before_it_and_then_begins_at_once(world: World) -> None:
    world.simulator.config(pending=100_000)
    first, along = world.volume(), world.volume()
    backup = place(
        world,
        snapshot(first, "first"),
        snapshot(along, "along", "first", Once.UNDER_WAY),
        snapshot(world.volume(), "last", "along", Once.OVER),
    )
    world.work()
    world.simulator.finish(step(backup, "along").refs[along])
    world.pass_time(timedelta(minutes=2))
    assert step(backup, "along").outcome == SUCCEEDED
    assert step(backup, "last").phase == OperationPhase.PLANNED
    world.simulator.finish()
    world.pass_time(timedelta(seconds=30))
    assert step(backup, "last").phase == OperationPhase.STARTED
