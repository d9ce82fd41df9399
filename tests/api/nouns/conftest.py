"""An AWS for the nouns' tests, and what most of them begin with."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cpm.kernel import clock
from cpm.simulator.process import Simulator
from tests.api.cast import Caller
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import Estate
from tests.api.nouns.everything import make_one_of_each

_numbers = itertools.count(500000000000)


@pytest.fixture(scope="session")
def running_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def simulator(running_simulator: Simulator, settings: Any) -> Iterator[Simulator]:
    """The AWS where the server's calls go; each test has accounts of its own in it."""
    running_simulator.reset_counts()
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, aws_endpoint=running_simulator.endpoint)
    yield running_simulator
    running_simulator.faults([])
    running_simulator.config(pending=0, fail=[], revoked=[])
    clock.set_offset(timedelta())


@pytest.fixture
def cloud(simulator: Simulator) -> Cloud:
    """The account in which everything is, entered by its administrator."""
    return Cloud(simulator, simulator.account(str(next(_numbers))))


@pytest.fixture
def other_cloud(simulator: Simulator) -> Cloud:
    """Another account."""
    return Cloud(simulator, simulator.account(str(next(_numbers))))


@pytest.fixture
def third_cloud(simulator: Simulator) -> Cloud:
    """One more account."""
    return Cloud(simulator, simulator.account(str(next(_numbers))))


@pytest.fixture
def estate(managed: Caller, cloud: Cloud) -> Estate:
    """The managed user's account and a policy in it that protects nothing yet."""
    return Estate.of(managed, cloud)


@pytest.fixture
def ids(estate: Estate) -> dict[str, int]:
    """The ids of one object of each kind."""
    return make_one_of_each(estate)
