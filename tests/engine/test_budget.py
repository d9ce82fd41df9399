"""AWS's rate limits are kept by all processes together, and what AWS refuses is a lesson."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db.models.functions import Now

from cpm.aws.budget import RECOVERY_SECONDS, published
from cpm.engine import deletions, operations, tick
from cpm.engine.budget import LATENESS_SECONDS, SharedBudget
from cpm.kernel import clock
from cpm.models.backups import BackupOutcome
from cpm.models.budgets import ApiBudget
from cpm.models.events import Event
from cpm.models.operations import Operation
from cpm.models.policies import Target
from tests.engine.world import REGION, World, at_once, planned_operations, volume_target

OPERATION = "ec2:CreateSnapshot"
CALL = ("111122223333", "eu-west-1", OPERATION)

# So small a share that the time which a test takes does not matter.
SHARE = 0.001
SLOT_SECONDS = 1 / (published(OPERATION).per_second * SHARE)

_CHILD = f"""
import django
django.setup()
from cpm.engine.budget import SharedBudget
print(SharedBudget().reserve(*{CALL!r}))
"""


@pytest.fixture
def budget(database: None, settings: Any) -> SharedBudget:
    """The shared budget, with one slot in many seconds."""
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, aws_budget_share=SHARE)
    return SharedBudget()


def slots(seconds: float) -> int:
    """How many slots a wait is long."""
    return round(seconds / SLOT_SECONDS)


def set_row(**changes: Any) -> None:
    """Change the bucket as if time had passed."""
    assert ApiBudget.objects.update(**changes) == 1


def busy_for(world: World, operation: str, seconds: float) -> None:
    """Let others have used the account's slots for so long."""
    rate = published(operation)
    ApiBudget.objects.create(
        key=f"{world.credentials.account}/{REGION}/{operation}",
        spent_until=Now() + timedelta(seconds=seconds + (rate.burst - 1) / rate.per_second),
        per_second=rate.per_second,
        burst=rate.burst,
    )


# --- the bucket ----------------------------------------------------------------------------------


def test_threads_get_a_slot_each(budget: SharedBudget) -> None:
    for number in range(10):  # the first ones make the bucket, which is a race of its own
        waits = at_once(8, partial(budget.reserve, f"{number:012}", *CALL[1:]))
        assert sorted(map(slots, waits)) == list(range(8))


def test_processes_get_a_slot_each(budget: SharedBudget, database_url: str) -> None:
    budget.reserve(*CALL)
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "CPM_AWS_BUDGET_SHARE": str(SHARE),
    }
    children = [
        subprocess.Popen([sys.executable, "-c", _CHILD], env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    waits = [float(child.communicate()[0]) for child in children]
    assert sorted(map(slots, waits)) == [1, 2]
    assert slots(budget.reserve(*CALL)) == 3


def test_a_burst_goes_through_at_once_but_for_what_may_come_too_late(database: None) -> None:
    rate = published(OPERATION)
    burst = int(rate.burst - rate.per_second * LATENESS_SECONDS)
    assert [SharedBudget().reserve(*CALL) for _ in range(burst)] == [0.0] * burst


def test_accounts_regions_and_operations_do_not_wait_for_each_other(budget: SharedBudget) -> None:
    account, region, operation = CALL
    assert budget.reserve(account, region, operation) == 0
    assert budget.reserve("444455556666", region, operation) == 0
    assert budget.reserve(account, "us-east-1", operation) == 0
    assert budget.reserve(account, region, "ec2:DeleteSnapshot") == 0
    assert slots(budget.reserve(account, region, operation)) == 1


def test_a_call_may_take_many_tokens(budget: SharedBudget) -> None:
    assert [slots(budget.reserve(*CALL, tokens=3)) for _ in range(3)] == [0, 3, 6]
    assert slots(budget.reserve(*CALL)) == 9


def test_a_slot_that_is_too_far_away_is_not_taken(budget: SharedBudget) -> None:
    budget.reserve(*CALL)
    for _ in range(3):
        assert slots(budget.reserve(*CALL, patience_seconds=60)) == 1
    assert slots(budget.reserve(*CALL)) == 1
    assert slots(budget.reserve(*CALL)) == 2


def test_a_throttle_empties_the_bucket_and_halves_the_rate(budget: SharedBudget) -> None:
    budget.throttled(*CALL)
    assert [slots(budget.reserve(*CALL)) for _ in range(3)] == [2, 4, 6]


def test_throttles_that_arrive_together_are_one_lesson(budget: SharedBudget) -> None:
    budget.throttled(*CALL)
    set_row(throttled_at=Now())
    learnt = ApiBudget.objects.get().per_second
    at_once(6, lambda: budget.throttled(*CALL))
    assert ApiBudget.objects.get().per_second == learnt


def test_each_lesson_that_was_not_enough_halves_the_rate_again(budget: SharedBudget) -> None:
    full = published(OPERATION).per_second * SHARE
    for part in (2, 4, 8):
        budget.throttled(*CALL)
        assert ApiBudget.objects.get().per_second == pytest.approx(full / part, rel=0.05)
        set_row(throttled_at=Now() - timedelta(seconds=2))


def test_quiet_time_restores_the_rate(budget: SharedBudget) -> None:
    budget.throttled(*CALL)
    set_row(throttled_at=Now() - timedelta(seconds=RECOVERY_SECONDS), spent_until=Now())
    assert [slots(budget.reserve(*CALL)) for _ in range(3)] == [0, 1, 2]


# --- operations that wait ------------------------------------------------------------------------


def test_who_has_to_wait_long_keeps_the_slot_in_the_row(world: World) -> None:
    busy_for(world, OPERATION, 600)
    policy = world.policy(*(volume_target(world.volume()) for _ in range(4)))
    backup = tick.run_now(policy)
    world.work()
    waiting = Operation.objects.filter(backup=backup)
    assert [operation.has_slot for operation in waiting] == [True] * 4
    assert OPERATION not in world.simulator.counts()
    spent_until = ApiBudget.objects.get(key__endswith=OPERATION).spent_until

    world.move_to(clock.now() + timedelta(seconds=610))
    world.drain()
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.SUCCEEDED
    assert world.simulator.counts()[OPERATION] == 4
    # They had their slots, and took no others.
    assert ApiBudget.objects.get(key__endswith=OPERATION).spent_until == spent_until


def test_calls_whose_turns_are_near_each_other_wait_for_them_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep, slept = clock.sleep, list[float]()

    def sleep_and_note(seconds: float) -> None:
        slept.append(seconds)
        sleep(seconds)

    backup = tick.run_now(world.policy(*(volume_target(world.volume()) for _ in range(4))))
    planned = planned_operations(backup)
    began = clock.monotonic()
    busy_for(world, OPERATION, 0.3 - LATENESS_SECONDS)
    monkeypatch.setattr(clock, "sleep", sleep_and_note)
    operations.look(planned[0], planned[-1] - planned[0] + 1)
    assert world.simulator.counts()[OPERATION] == 4
    last_turn_seconds = 0.3 + 3 / published(OPERATION).per_second
    assert clock.monotonic() - began >= last_turn_seconds
    # Each turn by itself would have been a wait of its own.
    assert len([seconds for seconds in slept if seconds > 0]) <= 1


def test_no_more_is_asked_for_together_than_the_bucket_holds(world: World) -> None:
    for number in range(30):
        world.client("dynamodb").create_table(
            TableName=f"orders-{number}",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    tables = [
        Target(kind="dynamodb_table", resource_id=f"orders-{number}", region=REGION)
        for number in range(30)
    ]
    backup = world.backup(world.policy(*tables))
    deletion = "dynamodb:DeleteBackup"
    rate = published(deletion)
    assert rate.burst == rate.per_second == 10
    limit = {"rate": rate.per_second, "burst": rate.burst}
    world.simulator.faults([{"op": deletion, "kind": "rate", **limit}])
    deletions.request(deletions.of_backup(backup))
    world.work()
    assert world.simulator.counts()[deletion] == 30
    asked = Operation.objects.filter(snapshot__backup=backup)
    assert list(asked.values_list("attempts", flat=True)) == [1] * 30


def test_a_long_wait_is_told_once_with_an_estimate(world: World) -> None:
    busy_for(world, OPERATION, 600)
    policy = world.policy(*(volume_target(world.volume()) for _ in range(4)))
    world.backup(policy)
    (line,) = Event.objects.filter(code="call_queued").values_list("values", flat=True)
    assert line["operation"] == OPERATION
    assert 60 < line["seconds"] <= 600


def test_a_read_that_has_to_wait_long_is_made_later(world: World) -> None:
    busy_for(world, "ec2:DescribeVolumes", 600)
    backup = tick.run_now(world.policy(volume_target(world.volume())))
    world.work()
    assert "ec2:DescribeVolumes" not in world.simulator.counts()
    ApiBudget.objects.all().delete()
    world.drain()
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.SUCCEEDED


def test_what_aws_refuses_as_too_fast_is_not_refused_twice(world: World) -> None:
    policy = world.policy(*(volume_target(world.volume()) for _ in range(10)))
    # AWS grants less than it publishes; half of that is within it.
    world.simulator.faults([{"op": OPERATION, "kind": "rate", "rate": 3, "burst": 3}])
    backup = world.backup(policy)
    assert backup.outcome == BackupOutcome.SUCCEEDED
    # The emulated bucket fills in real time: on a slow machine nothing is refused at all.
    attempts = list(backup.operations.values_list("attempts", flat=True))
    refused = world.simulator.counts()[OPERATION] - len(attempts)
    assert refused in (0, 1)
    assert sorted(attempts) == [1] * (len(attempts) - refused) + [2] * refused
