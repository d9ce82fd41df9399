"""What the budget promises: AWS's published rates, one lesson per throttle, a customer's share."""

import math
from typing import Any

import pytest

from cpm.aws.budget import RECOVERY_SECONDS, Budget, MemoryBudget, Rate, price, published
from cpm.kernel import clock

CALL = ("111122223333", "eu-west-1", "ec2:CreateSnapshots")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock, moved by the test."""
    time = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: time[0])
    return time


def waits(budget: Budget, count: int) -> list[float]:
    return [budget.reserve(*CALL) for _ in range(count)]


def test_a_burst_goes_through_at_once_and_the_rest_at_the_refill_rate(now: list[float]) -> None:
    budget = MemoryBudget(rate_of=lambda _: Rate(per_second=5, burst=50))
    got = waits(budget, 60)
    assert got[:50] == pytest.approx([0.0] * 50, abs=1e-6)
    assert got[50:] == pytest.approx([0.2 * n for n in range(1, 11)])


def test_a_full_bucket_comes_back_with_time(now: list[float]) -> None:
    budget = MemoryBudget(rate_of=lambda _: Rate(per_second=5, burst=10))
    waits(budget, 10)
    now[0] += 2
    assert waits(budget, 11)[9:] == pytest.approx([0.0, 0.2])


def test_a_share_of_the_budget_is_left_to_the_customers_own_tools(now: list[float]) -> None:
    budget = MemoryBudget(share=0.5, rate_of=lambda _: Rate(per_second=10, burst=20))
    got = waits(budget, 12)
    assert got[:10] == pytest.approx([0.0] * 10, abs=1e-6)
    assert got[10:] == pytest.approx([0.2, 0.4])


def test_accounts_regions_and_operations_do_not_wait_for_each_other(now: list[float]) -> None:
    budget = MemoryBudget(rate_of=lambda _: Rate(per_second=1, burst=1))
    account, region, operation = CALL
    assert budget.reserve(account, region, operation) == 0
    assert budget.reserve("444455556666", region, operation) == 0
    assert budget.reserve(account, "us-east-1", operation) == 0
    assert budget.reserve(account, region, "ec2:DeleteSnapshot") == 0
    assert budget.reserve(account, region, operation) == pytest.approx(1)


def test_a_slot_that_is_too_far_away_is_not_taken(now: list[float]) -> None:
    budget = MemoryBudget(rate_of=lambda _: Rate(per_second=0.01, burst=1))
    assert budget.reserve(*CALL) == 0
    for _ in range(5):
        assert budget.reserve(*CALL, patience_seconds=60) == pytest.approx(100)


def test_a_call_may_take_many_tokens(now: list[float]) -> None:
    budget = MemoryBudget(rate_of=lambda _: Rate(per_second=2, burst=10))
    assert [budget.reserve(*CALL, tokens=5) for _ in range(3)] == pytest.approx([0, 0, 2.5])
    now[0] += 100
    # More than the bucket ever holds: it waits for a full one.
    assert budget.reserve(*CALL, tokens=30) == 0
    assert budget.reserve(*CALL) == pytest.approx(10.5)


@pytest.mark.parametrize(
    ("operation", "parameters", "taken"),
    [
        ("ec2:CreateSnapshot", {"VolumeId": "vol-1"}, {"ec2:CreateSnapshot": 1}),
        (
            "ec2:RunInstances",
            {"MinCount": 3, "MaxCount": 3},
            {"ec2:RunInstances": 1, "ec2:RunInstances instances": 3},
        ),
        (
            "ec2:StopInstances",
            {"InstanceIds": ["i-1", "i-2"]},
            {"ec2:StopInstances": 1, "ec2:StopInstances instances": 2},
        ),
    ],
)
def test_a_call_pays_for_itself_and_for_its_instances(
    operation: str, parameters: dict[str, Any], taken: dict[str, int]
) -> None:
    assert price(operation, parameters) == taken


def test_a_throttle_empties_the_bucket_and_halves_the_rate(now: list[float]) -> None:
    budget = MemoryBudget(rate_of=lambda _: Rate(per_second=4, burst=100))
    budget.throttled(*CALL)
    assert waits(budget, 3) == pytest.approx([0.5, 1.0, 1.5])


def test_throttles_that_arrive_together_are_one_lesson(now: list[float]) -> None:
    budget = MemoryBudget(rate_of=lambda _: Rate(per_second=4, burst=1))
    for _ in range(20):
        budget.throttled(*CALL)
    first, second = waits(budget, 2)
    assert second - first == pytest.approx(0.5)


def test_a_learnt_rate_recovers_slowly_and_fully(now: list[float]) -> None:
    budget = MemoryBudget(rate_of=lambda _: Rate(per_second=4, burst=1))
    budget.throttled(*CALL)
    now[0] += RECOVERY_SECONDS / 4
    first, second = waits(budget, 2)
    assert second - first == pytest.approx(1 / 3)
    now[0] += RECOVERY_SECONDS
    first, second = waits(budget, 2)
    assert second - first == pytest.approx(1 / 4)


def test_however_often_aws_refuses_it_is_asked_again_some_day(now: list[float]) -> None:
    budget = MemoryBudget(rate_of=lambda _: Rate(per_second=5, burst=5))
    for _ in range(200):
        now[0] += 1
        budget.throttled(*CALL)
    assert math.isfinite(budget.reserve(*CALL))
    now[0] += RECOVERY_SECONDS
    assert budget.reserve(*CALL) == 0


@pytest.mark.parametrize(
    ("operation", "rate"),
    [
        ("ec2:DescribeSnapshots", Rate(20, 100)),
        ("ec2:CreateSnapshots", Rate(5, 100)),
        ("ec2:CopySnapshot", Rate(5, 50)),
        ("ec2:CreateTags", Rate(10, 100)),
        ("ec2:CopyImage", Rate(1, 100)),
        ("ec2:RunInstances", Rate(2, 5)),
        ("ec2:RunInstances instances", Rate(2, 1000)),
        ("ec2:StopInstances", Rate(5, 50)),
        ("ec2:StopInstances instances", Rate(20, 1000)),
        ("rds:CreateDBSnapshot", Rate(5, 20)),
    ],
)
def test_the_start_is_what_aws_publishes(operation: str, rate: Rate) -> None:
    assert published(operation) == rate


@pytest.mark.parametrize(
    ("operation", "per_second"),
    [
        ("CreateBackup", 50),
        ("DeleteBackup", 10),
        ("RestoreTableFromBackup", 10),
        ("ListBackups", 5),
    ],
)
def test_backups_of_tables_keep_to_the_rates_that_aws_publishes(
    operation: str, per_second: int
) -> None:
    assert published(f"dynamodb:{operation}") == Rate(per_second, per_second)
