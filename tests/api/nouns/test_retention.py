"""What records say of their retention is what the engine does about it."""

import random
import uuid
from datetime import timedelta

import pytest

from cpm.engine import retention
from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, Trigger
from cpm.models.policies import Policy
from cpm.models.snapshots import Snapshot, SnapshotStatus
from tests.api.cast import Caller

_FAILED, _PARTIAL = BackupOutcome.FAILED, BackupOutcome.PARTIAL
_GOOD, _DELETED = BackupOutcome.SUCCEEDED, BackupOutcome.DELETED


def policy_of(caller: Caller, name: str, generations: int) -> Policy:
    account, _ = Account.objects.get_or_create(user_id=caller.id, name="prod", authentication="C")
    return Policy.objects.create(
        user_id=caller.id,
        account=account,
        name=name,
        generations=generations,
        modified_at=clock.now(),
    )


def add_run(policy: Policy, outcomes: list[BackupOutcome], *, is_frozen: bool = False) -> None:
    """A run and its retries, with what they would have left in AWS."""
    run = uuid.uuid4()
    started_at = clock.now() + timedelta(minutes=Backup.objects.count())
    for attempt, outcome in enumerate(outcomes):
        backup = Backup.objects.create(
            user=policy.user,
            account=policy.account,
            account_name="prod",
            policy=policy,
            policy_name=policy.name,
            is_frozen=is_frozen,
            trigger=Trigger.RETRY if attempt else Trigger.MANUAL,
            run=run,
            attempt=attempt,
            phase=BackupPhase.CLOSED,
            outcome=outcome,
            started_at=started_at + timedelta(seconds=attempt),
            finished_at=started_at,
        )
        if outcome != _FAILED:
            is_gone = outcome == _DELETED
            Snapshot.objects.create(
                backup=backup,
                kind="ebs_volume",
                collection="volumes",
                account_name="prod",
                region="us-east-1",
                resource_id="vol-1",
                aws_ref=f"snap-{backup.pk}",
                status=SnapshotStatus.DELETED if is_gone else SnapshotStatus.SUCCEEDED,
            )


@pytest.mark.parametrize("seed", range(20))
def test_the_list_says_what_the_engine_decides(managed: Caller, seed: int) -> None:
    dice = random.Random(seed)
    runs = [[_GOOD], [_FAILED], [_PARTIAL], [_DELETED]]
    runs += [[_FAILED, _GOOD], [_PARTIAL, _GOOD], [_PARTIAL, _PARTIAL], [_PARTIAL, _FAILED, _GOOD]]
    policies = [policy_of(managed, f"p{number}", dice.randint(1, 4)) for number in range(2)]
    for _ in range(dice.randint(0, 14)):
        outcomes = dice.choice(runs)
        frozen = outcomes == [_GOOD] and dice.random() < 0.3
        add_run(dice.choice(policies), outcomes, is_frozen=frozen)
    decided = {
        decision.record_id: {
            "kept": decision.kept,
            "reason": decision.reason,
            "expires_after": decision.expires_after,
        }
        for policy in policies
        for decision in retention.decide(policy)
    }
    for records in (
        managed.get("/backups/").json,
        managed.get("/backups/?page_size=1000").json["results"],
    ):
        assert {each["id"]: each["retention"] for each in records} == decided
