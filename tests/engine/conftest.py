"""The emulated AWS and the world in it that the engine's tests act on."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cpm.kernel import clock
from cpm.simulator.process import Simulator
from tests.engine.world import World, make_world
from tests.receivers import Receiver, receiver


@pytest.fixture(scope="session")
def running_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One emulated AWS for all tests; each test has accounts of its own in it."""
    with Simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def simulator(running_simulator: Simulator) -> Iterator[Simulator]:
    """The emulated AWS without faults, and with snapshots that are complete at once."""
    running_simulator.reset_counts()
    yield running_simulator
    running_simulator.faults([])
    running_simulator.config(pending=0, fail=[], revoked=[])


@pytest.fixture
def world(database: None, simulator: Simulator, settings: Any) -> Iterator[World]:
    """A user, an account, and the clock at the present."""
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, aws_endpoint=simulator.endpoint)
    yield make_world(simulator)
    clock.set_offset(timedelta())


@pytest.fixture
def told(db: None, settings: Any) -> Iterator[Receiver]:
    """Whoever is told of alerts by webhooks."""
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, webhook_networks=("127.0.0.0/8",))
    with receiver() as running:
        yield running
    clock.set_offset(timedelta())
