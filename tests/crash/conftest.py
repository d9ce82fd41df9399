"""An emulated AWS that keeps the test's time, and a world in it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cpm.simulator.process import Simulator
from tests.crash.time import SharedClock, TimedWorld, make_timed_world


@pytest.fixture(scope="session")
def shared_clock(tmp_path_factory: pytest.TempPathFactory) -> SharedClock:
    """One clock for the emulated AWS, the test and the processes that it starts."""
    return SharedClock(tmp_path_factory.mktemp("clock") / "offset")


@pytest.fixture(scope="session")
def running_simulator(
    tmp_path_factory: pytest.TempPathFactory, shared_clock: SharedClock
) -> Iterator[Simulator]:
    """One emulated AWS for all tests; each test has accounts of its own in it."""
    directory = tmp_path_factory.mktemp("simulator")
    with Simulator(directory, environment=shared_clock.environment) as simulator:
        yield simulator


@pytest.fixture
def simulator(running_simulator: Simulator) -> Iterator[Simulator]:
    """The emulated AWS without faults, and with snapshots that are complete at once."""
    yield running_simulator
    running_simulator.faults([])
    running_simulator.config(pending=0, fail=[], revoked=[])


@pytest.fixture
def world(
    database: None,
    simulator: Simulator,
    shared_clock: SharedClock,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> TimedWorld:
    """A user and an account; the test, too, follows the shared clock."""
    for name, value in shared_clock.environment.items():
        monkeypatch.setenv(name, value)
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, aws_endpoint=simulator.endpoint)
    return make_timed_world(simulator, shared_clock)
