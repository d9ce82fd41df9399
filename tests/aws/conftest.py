"""A simulator for the session; each test has an account of its own and leaves no faults behind."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cpm.aws.budget import Budget, NoBudget
from cpm.aws.credentials import StaticKeys
from cpm.aws.sessions import Aws, Cloud
from cpm.simulator.process import Simulator

REGION = "eu-west-1"

_numbers = itertools.count(500000000001)

Clouds = Callable[..., Cloud]


@pytest.fixture(scope="session")
def clock_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seconds by which the simulator's clock is ahead of ours."""
    return tmp_path_factory.mktemp("clock") / "offset"


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, clock_file: Path) -> Iterator[Simulator]:
    """The process that all tests of a session share."""
    directory = tmp_path_factory.mktemp("simulator")
    with Simulator(directory, environment={"CPM_CLOCK_OFFSET_FILE": str(clock_file)}) as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Iterator[Simulator]:
    """The simulator, with its counts at nought."""
    running.reset_counts()
    yield running
    running.faults([])


@pytest.fixture
def clouds() -> Iterator[Clouds]:
    """Makes ways to AWS that are closed in the end."""
    opened: list[Cloud] = []

    def cloud(endpoint_url: str, budget: Budget | None = None, **options: object) -> Cloud:
        opened.append(
            Cloud(endpoint_url=endpoint_url, budget=budget or NoBudget(), **options)  # type: ignore[arg-type]  # each test knows its options
        )
        return opened[-1]

    yield cloud
    for each in opened:
        each.close()


@pytest.fixture
def cloud(simulator: Simulator, clouds: Clouds) -> Cloud:
    """The way to the simulator, at any speed."""
    return clouds(simulator.endpoint)


@pytest.fixture
def keys(simulator: Simulator) -> StaticKeys:
    """The keys of a new account."""
    opened = simulator.account(str(next(_numbers)))
    return StaticKeys(opened.access_key_id, opened.secret_access_key)


@pytest.fixture
def aws(cloud: Cloud, keys: StaticKeys) -> Aws:
    """A new account in Europe."""
    return cloud.aws(keys, REGION, "500000000000")
