"""Databases, clusters and tables survive crashes and bad weather as volumes and instances do."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.crash.databases import Clusters, Databases
from tests.crash.one_by_one import (
    OneBackup,
    OneDeletion,
    OneRecovery,
    OneUndone,
    Tables,
    Things,
    Warehouses,
)
from tests.crash.stories import Story, check_quiet
from tests.crash.telling import crash_at_every_point
from tests.crash.test_bad_weather import FAULTS
from tests.crash.time import TimedWorld

# Clusters are protected as databases are, and recovered as nothing else is.
PROTECTED = [Warehouses, Tables, Databases]


def kind_of(things: type[Things]) -> str:
    """What the test of a type is called."""
    return things.kind


@pytest.fixture(params=[*PROTECTED, Clusters], ids=kind_of)
def things(request: pytest.FixtureRequest, world: TimedWorld) -> Iterator[Things]:
    """Each type in turn, in an account that may have as many copies as the test makes."""
    world.simulator.config(limits={"redshift_snapshots": None, "rds_snapshots": None})
    yield request.param(world)
    world.simulator.config(limits={"redshift_snapshots": 20, "rds_snapshots": 100})


@pytest.mark.parametrize("things", PROTECTED, ids=kind_of, indirect=True)
def test_a_backup_survives_a_crash_at_every_point(world: TimedWorld, things: Things) -> None:
    crash_at_every_point(world, lambda: OneBackup(things))


@pytest.mark.parametrize("things", PROTECTED, ids=kind_of, indirect=True)
def test_a_deletion_survives_a_crash_at_every_point(world: TimedWorld, things: Things) -> None:
    kept = things.backup()
    crash_at_every_point(world, lambda: OneDeletion(things, kept))


def test_a_recovery_survives_a_crash_at_every_point(world: TimedWorld, things: Things) -> None:
    backup = things.backup()
    crash_at_every_point(world, lambda: OneRecovery(things, backup))


def test_what_a_failed_recovery_made_is_taken_back_wherever_it_crashes(
    world: TimedWorld, things: Things
) -> None:
    if things.vital is None:
        return
    backup = things.backup()
    crash_at_every_point(world, lambda: OneUndone(things, backup))


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wanted_is_done_once_in_spite_of_faults(
    world: TimedWorld, things: Things, name: str
) -> None:
    tell(world, lambda: OneBackup(things), things, FAULTS[name])
    backup = things.backup()
    tell(world, lambda: OneRecovery(things, backup), things, FAULTS[name])
    tell(world, lambda: OneDeletion(things, backup), things, FAULTS[name])


def tell(
    world: TimedWorld, make: Callable[[], Story], things: Things, faults: list[dict[str, Any]]
) -> None:
    """Tell a story while each call that changes something meets the faults once."""
    story = make()
    world.simulator.faults(
        [{"op": call, "times": 1, **fault} for call in things.calls for fault in faults]
    )
    story.ask()
    world.drain()
    world.simulator.faults([])
    check_quiet()
    story.check()
