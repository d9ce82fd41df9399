"""An AWS for the nouns' tests, and what most of them begin with."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings as django_settings

from cpm.engine import accounts
from cpm.simulator.process import Simulator
from tests.api.nouns.cloud import Cloud

NUMBER = "111111111111"
OTHER_NUMBER = "222222222222"


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def aws(simulator: Simulator, settings: Any) -> Iterator[Simulator]:
    """An empty AWS, which is where the server's calls go."""
    simulator.reset()
    settings.ENVIRONMENT = replace(
        django_settings.ENVIRONMENT,
        aws_endpoint=simulator.endpoint,
        settle_seconds=0.0,
        poll_seconds=0.0,
    )
    accounts._cloud.cache_clear()
    yield simulator
    accounts._cloud.cache_clear()


@pytest.fixture
def cloud(aws: Simulator) -> Cloud:
    """The main account of the tests, by its administrator."""
    return Cloud(aws, aws.account(NUMBER))
