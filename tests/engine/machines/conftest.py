"""A repository, and a configuration of worker machines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpm.models.workers import Worker
from tests.engine.archiving import Vault
from tests.engine.world import REGION, World

URL = "https://cpm.example.com:8443"


@pytest.fixture
def vault(world: World) -> Vault:
    return Vault.of(world)


@pytest.fixture
def worker(world: World, settings: Any, tmp_path: Path) -> Worker:
    """A configuration, on a server that machines can reach."""
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, server_url=URL, data=tmp_path / "data")
    return Worker.objects.create(user=world.user, account=world.account, region=REGION)
