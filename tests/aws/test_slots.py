"""How calls keep to the budget."""

import math
from collections.abc import Sequence

import pytest

from cpm.aws.budget import MemoryBudget, Rate
from cpm.aws.credentials import StaticKeys
from cpm.aws.sessions import Aws
from cpm.kernel import clock
from cpm.kernel.faults import FaultKind
from cpm.simulator.process import Simulator
from cpm.testing.stage import fault_of
from tests.aws.conftest import REGION, Clouds


class Ledger:
    """A budget that grants what it is told to and writes down who asked."""

    def __init__(self) -> None:
        self.wait_seconds = 0.0
        self.reserved: list[tuple[str, str, str]] = []
        self.refused: list[tuple[str, str, str]] = []

    def reserve(
        self,
        account: str,
        region: str,
        operation: str,
        *,
        tokens: int = 1,
        patience_seconds: float = math.inf,
    ) -> float:
        """See `Budget`."""
        if self.wait_seconds <= patience_seconds:
            self.reserved.append((account, region, operation))
        return self.wait_seconds

    def reserve_each(
        self, account: str, region: str, operation: str, calls: int
    ) -> Sequence[float]:
        """See `Budget`."""
        return [self.reserve(account, region, operation) for _ in range(calls)]

    def throttled(self, account: str, region: str, operation: str) -> None:
        """See `Budget`."""
        self.refused.append((account, region, operation))


READ = ("500000000000", REGION, "ec2:DescribeVolumes")


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def aws(simulator: Simulator, clouds: Clouds, keys: StaticKeys, ledger: Ledger) -> Aws:
    return clouds(simulator.endpoint, ledger).aws(keys, REGION, "500000000000")


def test_every_call_reserves_its_slot(aws: Aws, ledger: Ledger) -> None:
    aws.call("ec2", "DescribeVolumes")
    assert ledger.reserved == [READ]


def test_a_slot_reserved_beforehand_is_good_for_one_call(aws: Aws, ledger: Ledger) -> None:
    with_slot = aws.with_slot("ec2:DescribeVolumes")
    with_slot.call("ec2", "DescribeSnapshots", OwnerIds=["self"])
    with_slot.call("ec2", "DescribeVolumes")
    assert [operation for _, _, operation in ledger.reserved] == ["ec2:DescribeSnapshots"]
    with_slot.call("ec2", "DescribeVolumes")
    assert ledger.reserved[-1] == READ


def test_a_short_wait_is_slept_through(
    aws: Aws, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(clock, "sleep", slept.append)
    ledger.wait_seconds = 7.0
    aws.call("ec2", "DescribeVolumes")
    assert slept == [7.0]


def test_a_long_wait_is_the_callers(aws: Aws, ledger: Ledger, simulator: Simulator) -> None:
    ledger.wait_seconds = 61.0
    fault = fault_of(lambda: aws.call("ec2", "DescribeVolumes"))
    assert fault.kind is FaultKind.THROTTLED
    assert fault.retry_after_seconds == 61.0
    assert fault.operation == "ec2:DescribeVolumes"
    assert ledger.reserved == []
    assert "ec2:DescribeVolumes" not in simulator.counts()


def test_the_budget_learns_of_every_refusal_also_where_the_read_succeeds_in_the_end(
    aws: Aws, ledger: Ledger, simulator: Simulator
) -> None:
    simulator.faults([{"op": "ec2:DescribeVolumes", "kind": "throttle", "times": 2}])
    aws.call("ec2", "DescribeVolumes")
    assert ledger.refused == [READ, READ]


def test_a_refused_write_is_throttled_and_learnt_from(
    aws: Aws, ledger: Ledger, simulator: Simulator
) -> None:
    simulator.faults([{"op": "ec2:DeleteVolume", "kind": "throttle"}])
    fault = fault_of(lambda: aws.call("ec2", "DeleteVolume", VolumeId="vol-0123456789abcdef0"))
    assert fault.kind is FaultKind.THROTTLED
    assert [operation for _, _, operation in ledger.refused] == ["ec2:DeleteVolume"]


def test_whoever_keeps_to_the_published_rate_is_not_throttled(
    simulator: Simulator, clouds: Clouds, keys: StaticKeys
) -> None:
    simulator.faults(
        [{"op": "ec2:DescribeVolumes", "kind": "rate", "rate": 20, "burst": 10, "code": "X"}]
    )
    budget = MemoryBudget(rate_of=lambda _: Rate(per_second=18, burst=8))
    aws = clouds(simulator.endpoint, budget).aws(keys, REGION)
    for _ in range(20):
        aws.call("ec2", "DescribeVolumes")
    assert simulator.counts()["ec2:DescribeVolumes"] == 20
