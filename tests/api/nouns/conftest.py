"""An AWS for the nouns' tests, and what most of them begin with."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.test import override_settings

from cpm.api.routes import OPERATIONS
from cpm.kernel import clock
from cpm.services import groups
from cpm.simulator.process import Simulator
from tests.api.cast import QUICK_HASHERS, Caller
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import Estate, create
from tests.api.nouns.everything import found_by_listing, make_one_of_each
from tests.api.nouns.organisation import Organisation

_numbers = itertools.count(500000000000)


def next_number() -> str:
    """The number of an account of AWS that no other test has."""
    return str(next(_numbers))


@pytest.fixture(scope="session")
def running_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def organisation(
    running_simulator: Simulator, django_db_setup: None, django_db_blocker: Any
) -> Iterator[Organisation]:
    """An organisation that the tests of a module share: what they do to it they have to undo."""
    environment = replace(settings.ENVIRONMENT, aws_endpoint=running_simulator.endpoint)
    quick = override_settings(ENVIRONMENT=environment, PASSWORD_HASHERS=QUICK_HASHERS)
    clouds = [Cloud(running_simulator, running_simulator.account(next_number())) for _ in "12"]
    with django_db_blocker.unblock(), quick, transaction.atomic():
        yield Organisation.found(*clouds)
        transaction.set_rollback(True)
    clock.set_offset(timedelta())


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
    return Cloud(simulator, simulator.account(next_number()))


@pytest.fixture
def other_cloud(simulator: Simulator) -> Cloud:
    """Another account."""
    return Cloud(simulator, simulator.account(next_number()))


@pytest.fixture
def third_cloud(simulator: Simulator) -> Cloud:
    """One more account."""
    return Cloud(simulator, simulator.account(next_number()))


@pytest.fixture
def estate(managed: Caller, cloud: Cloud) -> Estate:
    """The managed user's account and a policy in it that protects nothing yet."""
    return Estate.of(managed, cloud)


@pytest.fixture
def ids(estate: Estate) -> dict[str, int]:
    """The ids of one object of each kind."""
    return make_one_of_each(estate)


@pytest.fixture
def everything(
    root: Caller, stranger: Caller, delegate: Caller, estate: Estate, ids: dict[str, int]
) -> dict[str, int]:
    """An object that may go for every id in a path."""
    create(root, "/schedules/", {"name": "s", "every_unit": "D", "every_how_many": 1})
    groups.ensure_built_ins()
    path = "/settings/identity_provider/groups/"
    made = {
        "groups/users": create(root, f"{path}users/", {"name": "g"}),
        "groups/delegates": create(
            root, f"{path}delegates/", {"name": "d", "original_user": root.id}
        ),
    }
    known = {**ids, "users": stranger.id, **{key: one["id"] for key, one in made.items()}}
    return found_by_listing(root, OPERATIONS, known)


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which somebody types commands, about a database that he is connected with."""
    monkeypatch.setenv("CPM_DATA", str(tmp_path))
    monkeypatch.setenv("CPM_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/cpm")
    return tmp_path
