"""A repository, and a configuration of worker machines."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpm.engine import machine_work
from cpm.models.machines import WorkerMachine
from cpm.models.workers import Worker
from tests.engine.archiving import Vault
from tests.engine.machines.host import Host, Machine, hosting
from tests.engine.world import REGION, World

URL = "https://cpm.example.com:8443"

_homes = itertools.count(1)


@pytest.fixture
def vault(world: World) -> Vault:
    return Vault.of(world)


@pytest.fixture
def worker(world: World, settings: Any, tmp_path: Path) -> Worker:
    """A configuration, on a server that machines can reach."""
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, server_url=URL, data=tmp_path / "data")
    return Worker.objects.create(user=world.user, account=world.account, region=REGION)


@pytest.fixture
def host(worker: Worker, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """The server, as machines reach it; they ask often."""
    monkeypatch.setattr(machine_work, "ASK_AGAIN_SECONDS", 0.2)
    with hosting(settings.ENVIRONMENT.data) as running:
        settings.ENVIRONMENT = replace(settings.ENVIRONMENT, server_url=running.url)
        yield running


@pytest.fixture
def boot(world: World, tmp_path: Path) -> Iterator[Callable[[], Machine]]:
    """Starts what the newest machine's user data says."""
    booted: list[Machine] = []

    def start() -> Machine:
        row = WorkerMachine.objects.latest("pk")
        home = tmp_path / f"machine-{next(_homes)}"
        booted.append(Machine.boot(world, row.instance_id, home))
        return booted[-1]

    yield start
    for each in booted:
        each.kill()
