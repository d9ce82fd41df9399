"""The stage of the contract tests: a simulator for the session, a new account for each test."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cpm.aws.budget import NoBudget
from cpm.aws.sessions import Cloud
from cpm.resources import registry
from cpm.resources.contract import Driver
from cpm.simulator.process import Simulator
from cpm.testing.stage import Stage
from tests.contract.rigs import RIGS

pytest.register_assert_rewrite(
    "cpm.testing.copy_suite",
    "cpm.testing.driver_suite",
    "cpm.testing.inventory_suite",
    "cpm.testing.permission_suite",
)

_numbers = itertools.count(300000000001)

Staging = Callable[..., Stage]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """The process that all tests of a session share."""
    directory: Path = tmp_path_factory.mktemp("simulator")
    with Simulator(directory) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def cloud(running: Simulator) -> Iterator[Cloud]:
    """The way to the simulator, at any speed."""
    cloud = Cloud(endpoint_url=running.endpoint, budget=NoBudget())
    yield cloud
    cloud.close()


@pytest.fixture
def staged(running: Simulator, cloud: Cloud) -> Iterator[Staging]:
    """Makes stages: one driver on an account that nothing has touched yet."""

    def stage_of(kind: str, way: str = "") -> Stage:
        return Stage(registry.driver(kind), RIGS[kind][way], running, cloud, str(next(_numbers)))

    yield stage_of
    running.faults([])
    running.config(pending=0, fail=[])


@pytest.fixture(
    params=[(kind, way) for kind, rigs in RIGS.items() for way in rigs],
    ids=lambda names: " ".join(filter(None, names)),
)
def stage(request: pytest.FixtureRequest, staged: Staging) -> Stage:
    """The stage of each driver in turn, for each way in which it protects."""
    return staged(*request.param)


@pytest.fixture(params=[driver.kind for driver in registry.drivers()])
def driver(request: pytest.FixtureRequest) -> Driver:
    """Each driver in turn."""
    return registry.driver(request.param)


@pytest.fixture
def stages(driver: Driver, staged: Staging) -> list[Stage]:
    """The stages of the driver: one for each way in which it protects."""
    return [staged(driver.kind, way) for way in RIGS[driver.kind]]
