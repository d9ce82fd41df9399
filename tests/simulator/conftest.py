"""One simulator for all tests here; each test has accounts of its own and finds no faults left."""

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config

from cpm.simulator.config import Limits
from cpm.simulator.process import Credentials, Simulator
from tests import owners

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_sts import STSClient

Clients = Callable[..., Any]

Later = Callable[[float], None]

_numbers = itertools.count(1)
_CLOCK_FILE = "clock.offset"


@cache
def _one_attempt(read_timeout: int) -> Config:
    return Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=5,
        read_timeout=read_timeout,
        parameter_validation=False,
    )


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """The process that all tests of a session share."""
    directory: Path = tmp_path_factory.mktemp("simulator")
    clock_file = directory / _CLOCK_FILE
    clock_file.write_text("0")
    environment = {"CPM_CLOCK_OFFSET_FILE": str(clock_file)}
    with Simulator(directory, environment=environment) as simulator:
        yield simulator


@pytest.fixture
def later(running: Simulator) -> Callable[[float], None]:
    """Moves the simulator's clock forward by some seconds; it never goes back."""
    clock_file = running.log_file.with_name(_CLOCK_FILE)

    def move(seconds: float) -> None:
        clock_file.write_text(str(float(clock_file.read_text()) + seconds))

    return move


@pytest.fixture
def simulator(running: Simulator) -> Iterator[Simulator]:
    """The shared simulator, left without faults and with its first settings."""
    yield running
    running.faults([])
    running.config(
        pending=0,
        fail=[],
        revoked=[],
        enforce_iam=False,
        block_token_seconds=7 * 86400,
        page_token_seconds=3600,
        limits=vars(Limits()),
    )


@pytest.fixture
def new_account(simulator: Simulator) -> Callable[[], Credentials]:
    """Opens accounts that nothing has touched yet."""
    return lambda: simulator.account(f"{200000000000 + next(_numbers)}")


@pytest.fixture
def account(new_account: Callable[[], Credentials]) -> Credentials:
    """The test's own account."""
    return new_account()


@pytest.fixture
def client(simulator: Simulator) -> Clients:
    """Makes boto3 clients, `client("ec2", credentials, region)`, that never retry."""

    def make(
        service: str,
        key: Credentials,
        region: str = "us-east-1",
        token: str = "",
        read_timeout: int = 20,
    ) -> Any:
        config = _one_attempt(read_timeout)
        return owners.client(simulator.endpoint, service, key, region, token=token, config=config)

    return make


@pytest.fixture
def ec2(client: Clients, account: Credentials) -> "EC2Client":
    """EC2 in the test's own account."""
    made: EC2Client = client("ec2", account)
    return made


@pytest.fixture
def sts(client: Clients, account: Credentials) -> "STSClient":
    """STS in the test's own account."""
    made: STSClient = client("sts", account)
    return made


@pytest.fixture
def ebs(client: Clients, account: Credentials) -> Any:
    """The EBS direct APIs in the test's own account."""
    return client("ebs", account)


@pytest.fixture
def rds(client: Clients, account: Credentials) -> Any:
    """RDS in the test's own account."""
    return client("rds", account)


@pytest.fixture
def west(client: Clients, account: Credentials) -> Any:
    """RDS of the same account in another region."""
    return client("rds", account, "us-west-2")


@pytest.fixture
def kms(client: Clients, account: Credentials) -> Any:
    """KMS in the test's own account."""
    return client("kms", account)


@pytest.fixture
def other(new_account: Callable[[], Credentials]) -> Credentials:
    """Another account."""
    return new_account()
