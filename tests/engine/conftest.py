"""The emulated AWS and the world in it that the engine's tests act on."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cpm.kernel import clock
from cpm.simulator.process import Simulator
from tests.engine.world import World, make_world
from tests.receivers import Receiver, receiver

Later = Callable[[timedelta], None]
_CLOCK_FILE = "clock.offset"


@pytest.fixture(scope="session")
def running_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One emulated AWS for all tests; each test has accounts of its own in it."""
    directory = tmp_path_factory.mktemp("simulator")
    environment = {"CPM_CLOCK_OFFSET_FILE": str(directory / _CLOCK_FILE)}
    with Simulator(directory, environment=environment) as simulator:
        yield simulator


@pytest.fixture
def later(simulator: Simulator) -> Iterator[Later]:
    """Moves AWS's clock on; the next test finds it at the present again."""
    clock_file = simulator.log_file.with_name(_CLOCK_FILE)
    offset = timedelta()

    def move(span: timedelta) -> None:
        nonlocal offset
        offset += span
        clock_file.write_text(str(offset.total_seconds()))

    yield move
    clock_file.unlink(missing_ok=True)


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
