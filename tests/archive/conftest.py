"""An emulated S3 for the stores that need one."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from cpm.archive.s3 import S3Store
from cpm.aws.budget import NoBudget
from cpm.aws.credentials import StaticKeys
from cpm.aws.sessions import Aws, Cloud
from cpm.simulator.process import Simulator

REGION = "eu-west-1"
BUCKET = "archive"
_CLOCK_FILE = "clock.offset"


Later = Callable[[timedelta], None]


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One for all tests here."""
    directory = tmp_path_factory.mktemp("simulator")
    (directory / _CLOCK_FILE).write_text("0")
    environment = {"CPM_CLOCK_OFFSET_FILE": str(directory / _CLOCK_FILE)}
    with Simulator(directory, environment=environment) as simulator:
        yield simulator


@pytest.fixture
def later(simulator: Simulator) -> Later:
    """Moves the clock of S3 forward; it never goes back."""
    clock_file = simulator.log_file.with_name(_CLOCK_FILE)

    def move(span: timedelta) -> None:
        clock_file.write_text(str(float(clock_file.read_text()) + span.total_seconds()))

    return move


@pytest.fixture(scope="session")
def aws(simulator: Simulator) -> Iterator[Aws]:
    """The owner of the bucket."""
    opened = simulator.account("500000000001")
    cloud = Cloud(endpoint_url=simulator.endpoint, budget=NoBudget())
    aws = cloud.aws(StaticKeys(opened.access_key_id, opened.secret_access_key), REGION)
    aws.call(
        "s3",
        "CreateBucket",
        Bucket=BUCKET,
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )
    yield aws
    cloud.close()


@pytest.fixture
def s3(aws: Aws, request: pytest.FixtureRequest) -> S3Store:
    """A store that is empty as yet."""
    return S3Store(aws, BUCKET, f"of/{abs(hash(request.node.nodeid))}")
