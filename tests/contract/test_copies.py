"""Every resource type that is copied keeps the promises of copies."""

import pytest

from cpm.testing.copy_suite import CopySuite, Journey
from tests.contract.conftest import Staging
from tests.contract.rigs import RIGS


@pytest.fixture(
    params=[
        (kind, way, case)
        for kind, rigs in RIGS.items()
        for way, rig in rigs.items()
        for case in rig.copying
    ],
    ids=lambda names: " ".join(filter(None, [*names[:2], names[2].name])),
)
def journey(request: pytest.FixtureRequest, staged: Staging) -> Journey:
    """Each way of each driver in which a snapshot gets to another place."""
    kind, way, case = request.param
    return Journey(staged(kind, way), case)


class TestCopies(CopySuite):
    """The suite, for each way in which a driver of the registry copies."""
