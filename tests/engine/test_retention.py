"""Old backups lose their snapshots, as many as the policy promises keep them."""

import random
import uuid
from collections.abc import Iterator
from datetime import timedelta
from itertools import count

import pytest

from cpm.engine import cleanup, retention, tick
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupPhase, Trigger
from cpm.models.events import Event
from cpm.models.policies import Policy
from cpm.models.recoveries import Recovery, RecoveryPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.models.users import User, UserKind
from cpm.queries import retention as shown
from cpm.simulator.process import Credentials
from tests.engine.world import World, log_of, make_account, open_alerts, refs_of, volume_target


def in_aws(world: World) -> set[str]:
    """What AWS calls the snapshots that it has of us."""
    return {snapshot["SnapshotId"] for snapshot in world.snapshots_in_aws()}


def outcomes(policy: Policy) -> str:
    """The letters of the policy's records, oldest first."""
    return "".join(policy.backups.order_by("pk").values_list("outcome", flat=True))


def partial_backup(world: World, policy: Policy, bad: str) -> Backup:
    """A backup for which AWS can take no snapshot of one of the volumes."""
    world.simulator.config(fail=[bad])
    backup = world.backup(policy)
    world.simulator.config(fail=[])
    return backup


# --- in AWS --------------------------------------------------------------------------------------


def test_as_many_backups_as_generations_keep_their_snapshots(world: World) -> None:
    policy = world.policy(volume_target(world.volume()), generations=2)
    backups = [world.backup(policy) for _ in range(4)]
    assert outcomes(policy) == "DDBB"
    assert in_aws(world) == refs_of(backups[2]) | refs_of(backups[3])
    (gone,) = backups[0].snapshots.all()
    assert gone.status == SnapshotStatus.DELETED
    assert gone.deleted_at is not None
    assert open_alerts() == set()


def test_the_log_says_what_expired_and_that_it_is_gone(world: World) -> None:
    policy = world.policy(volume_target(world.volume()), generations=1)
    old, new = world.backup(policy), world.backup(policy)
    assert log_of(old)[-2:] == ["snapshot_expired", "snapshot_deleted"]
    assert log_of(new)[-1] == "backup_succeeded"
    (ref,) = refs_of(old)
    lines = Event.objects.filter(backup=old, code__startswith="snapshot_")
    assert {line.values["snapshot"] for line in lines} == {ref}


def test_frozen_backups_stay_and_do_not_count(world: World) -> None:
    policy = world.policy(volume_target(world.volume()), generations=2)
    frozen, old = world.backup(policy), world.backup(policy)
    Backup.objects.filter(pk=frozen.pk).update(is_frozen=True, name="keep")
    new = world.backup(policy)
    assert in_aws(world) == refs_of(frozen) | refs_of(old) | refs_of(new)
    world.backup(policy)
    assert outcomes(policy) == "BDBB"
    assert refs_of(frozen) <= in_aws(world)


def test_a_backup_that_is_taken_out_of_the_freezer_expires_like_any_other(world: World) -> None:
    policy = world.policy(volume_target(world.volume()), generations=1)
    backup = world.backup(policy)
    Backup.objects.filter(pk=backup.pk).update(is_frozen=True, name="keep")
    world.backup(policy)
    Backup.objects.filter(pk=backup.pk).update(is_frozen=False, name=None)
    cleanup.run()
    world.drain()
    assert outcomes(policy) == "DB"


def test_partial_backups_between_generations_stay_until_those_before_them_go(
    world: World,
) -> None:
    good, bad = world.volume(), world.volume()
    policy = world.policy(volume_target(good), volume_target(bad), generations=2)
    world.backup(policy)
    partial_backup(world, policy, bad)
    world.backup(policy)
    assert outcomes(policy) == "BAB"
    assert len(in_aws(world)) == 2 + 2 + 2  # AWS keeps failed snapshots too
    world.backup(policy)
    assert outcomes(policy) == "DDBB"
    assert len(in_aws(world)) == 4


def test_a_snapshot_that_failed_in_aws_goes_with_its_backup(world: World) -> None:
    good, bad = world.volume(), world.volume()
    policy = world.policy(volume_target(good), volume_target(bad), generations=1)
    world.simulator.config(fail=[good, bad])
    failed = world.backup(policy)
    world.simulator.config(fail=[])
    assert len(in_aws(world)) == 2
    new = world.backup(policy)
    assert in_aws(world) == refs_of(new)
    assert outcomes(policy) == "FB"
    assert set(failed.snapshots.values_list("status", flat=True)) == {SnapshotStatus.DELETED}


def test_fewer_successes_than_generations_delete_nothing(world: World) -> None:
    good, bad = world.volume(), world.volume()
    policy = world.policy(volume_target(good), volume_target(bad), generations=1)
    first = world.backup(policy)
    for _ in range(3):
        partial_backup(world, policy, bad)
    assert outcomes(policy) == "BAAA"
    assert refs_of(first) <= in_aws(world)


def test_a_repeat_does_not_push_out_the_partial_backup_that_it_completes(world: World) -> None:
    good, bad = world.volume(), world.volume()
    policy = world.policy(
        volume_target(good), volume_target(bad), generations=1, retry_count=1, retry_wait_minutes=5
    )
    world.backup(policy)
    partial = partial_backup(world, policy, bad)
    assert outcomes(policy) == "BA"
    world.pass_time(timedelta(minutes=6))
    assert outcomes(policy) == "DAB"
    repeat = Backup.objects.latest("pk")
    assert in_aws(world) == refs_of(partial) | refs_of(repeat)
    newer = world.backup(policy)
    assert outcomes(policy) == "DDDB"
    assert in_aws(world) == refs_of(newer)


def test_a_run_that_leaves_a_vanished_target_out_is_not_made_complete_by_its_repeat(
    world: World,
) -> None:
    good, bad, gone = world.volume(), world.volume(), world.volume()
    policy = world.policy(
        *map(volume_target, (good, bad, gone)), generations=1, retry_count=1, retry_wait_minutes=5
    )
    complete = world.backup(policy)
    world.ec2().delete_volume(VolumeId=gone)
    partial_backup(world, policy, bad)
    world.pass_time(timedelta(minutes=6))
    assert outcomes(policy) == "BAA"
    assert refs_of(complete) <= in_aws(world)
    assert f"policy:{policy.pk}:missing" in open_alerts()


def test_fewer_generations_act_at_the_next_cleanup(world: World) -> None:
    policy = world.policy(volume_target(world.volume()), generations=3)
    for _ in range(3):
        world.backup(policy)
    Policy.objects.filter(pk=policy.pk).update(generations=1)
    cleanup.run()
    world.drain()
    assert outcomes(policy) == "DDB"
    finished = Event.objects.filter(code="cleanup_finished").latest("pk")
    assert finished.values["expired"] == 2


def test_each_policy_counts_its_own_backups(world: World) -> None:
    volume_id = world.volume()
    one, other = (world.policy(volume_target(volume_id), generations=1) for _ in range(2))
    kept = world.backup(one)
    for _ in range(2):
        world.backup(other)
    assert (outcomes(one), outcomes(other)) == ("B", "DB")
    assert refs_of(kept) <= in_aws(world)


def test_what_a_policy_made_stays_when_it_is_deleted(world: World) -> None:
    policy = world.policy(volume_target(world.volume()), generations=1)
    backup = world.backup(policy)
    policy.delete()
    cleanup.run()
    world.drain()
    assert in_aws(world) == refs_of(backup)


def test_applying_it_twice_asks_for_nothing_twice(world: World) -> None:
    policy = world.policy(volume_target(world.volume()), generations=2)
    backups = [world.backup(policy) for _ in range(2)]
    Policy.objects.filter(pk=policy.pk).update(generations=1)
    assert [retention.apply(policy.pk), retention.apply(policy.pk)] == [1, 0]
    world.drain()
    assert log_of(backups[0]).count("snapshot_expired") == 1
    assert world.simulator.counts()["ec2:DeleteSnapshot"] == 1


def test_a_backup_under_way_keeps_what_it_has(world: World) -> None:
    policy = world.policy(volume_target(world.volume()), generations=1)
    world.backup(policy)
    world.simulator.config(pending=100_000)
    open_backup = tick.run_now(policy)
    world.work()
    assert retention.apply(policy.pk) == 0
    assert outcomes(policy) == "B"
    world.simulator.finish()
    world.drain()
    assert in_aws(world) == refs_of(open_backup)


# --- what the API shows --------------------------------------------------------------------------

_refs = count(1)


def stored_policy(generations: int) -> Policy:
    """A policy of which AWS knows nothing."""
    name = f"policy-{next(_refs)}"
    user = User.objects.create(username=name, kind=UserKind.MANAGED, created_at=clock.now())
    account = make_account(user, Credentials("123456789012", "AKIA0", "secret"))
    return Policy.objects.create(
        user=user, account=account, name=name, generations=generations, modified_at=clock.now()
    )


RUNS = ["B", "B", "B", "D", "A", "F", "AB", "FB", "AA", "AFB", "AD", "DB", "FA", "AAAB"]


def histories(policy: Policy, dice: random.Random) -> Iterator[Backup]:
    """Records as a policy of some age may have them, oldest first, not stored."""
    started_at = clock.now() - timedelta(days=100)
    runs = [dice.choice(RUNS) for _ in range(dice.randint(0, 12))]
    for number, letters in enumerate(runs, start=1):
        run = uuid.uuid4()
        for attempt, outcome in enumerate(letters):
            started_at += timedelta(minutes=10)
            is_last = attempt == len(letters) - 1
            waits = is_last and outcome in "AF" and dice.random() < 0.3
            record = Backup(
                user=policy.user,
                account=policy.account,
                account_name=policy.account.name,
                policy=policy,
                policy_name=policy.name,
                is_frozen=outcome in "AB" and dice.random() < 0.15,
                name=f"frozen-{next(_refs)}",
                trigger=Trigger.RETRY if attempt else Trigger.MANUAL,
                run=run,
                attempt=attempt,
                retry_at=started_at if waits else None,
                phase=BackupPhase.CLOSED,
                outcome=outcome,
                started_at=started_at,
                finished_at=started_at,
                dr_status=dice.choice("NNNNNSSPAFD"),
                s3_status=dice.choice("NNNNNSSP"),
            )
            if is_last and number == len(runs) and dice.random() < 0.3:
                reopen(record)
            yield record


def reopen(record: Backup) -> None:
    """As it is while the backup is under way."""
    record.phase, record.outcome, record.is_frozen = BackupPhase.RUNNING, "", False
    record.finished_at, record.retry_at, record.due_at = None, None, record.started_at


def add_snapshots(backup: Backup, dice: random.Random) -> None:
    """What such a record may have left in AWS, and a recovery from it."""
    good = SnapshotStatus.SUCCEEDED
    match backup.outcome:
        case "A" | "B":
            add_snapshot(backup, good)
            if dice.random() < 0.2:
                add_snapshot(backup, good, collection="initial_amis")
        case "D":
            add_snapshot(backup, SnapshotStatus.DELETED)
            if dice.random() < 0.2:  # deleted one by one, while others share the AMI
                add_snapshot(backup, good, collection="initial_amis")
        case "F" if dice.random() < 0.3:
            add_snapshot(backup, SnapshotStatus.FAILED)
        case "" if dice.random() < 0.5:
            add_snapshot(backup, SnapshotStatus.IN_PROGRESS)
    if backup.outcome and dice.random() < 0.15:
        wanted_away = dice.choice([backup.snapshots.all(), backup.snapshots.all()[:1]])
        ids = [snapshot.pk for snapshot in wanted_away]
        Snapshot.objects.filter(pk__in=ids).update(delete_requested_at=clock.now())
    if backup.outcome in {"A", "B"} and dice.random() < 0.15:
        add_recovery(backup)


def add_snapshot(backup: Backup, status: str, collection: str = "volumes") -> None:
    Snapshot.objects.create(
        backup=backup,
        kind="ebs_volume",
        collection=collection,
        account=backup.account,
        account_name=backup.account_name,
        region="us-east-1",
        resource_id="vol-1",
        aws_ref=f"snap-{next(_refs)}",
        status=status,
    )


def add_recovery(backup: Backup) -> None:
    Recovery.objects.create(
        user=backup.user,
        account=backup.account,
        backup=backup,
        policy=backup.policy,
        kind="ebs_volume",
        backup_started_at=backup.started_at,
        phase=RecoveryPhase.RUNNING,
        started_at=clock.now(),
        due_at=clock.now(),
    )


@pytest.mark.parametrize("seed", range(40))
def test_what_the_api_shows_is_what_the_engine_decides(db: None, seed: int) -> None:
    dice = random.Random(seed)
    policies = [stored_policy(generations=dice.randint(1, 4)) for _ in range(2)]
    for policy in policies:
        for backup in histories(policy, dice):
            backup.save()
            add_snapshots(backup, dice)
    decided = {
        decision.record_id: (decision.kept, decision.reason.value, decision.expires_after)
        for policy in policies
        for decision in retention.decide(policy)
    }
    for many in (False, True):
        rows = shown.annotated(Backup.objects.all(), many=many)
        seen = {
            pk: (outlook.kept, outlook.reason, outlook.expires_after)
            for pk, *standing in rows.values_list("pk", *shown.COLUMNS)
            for outlook in [shown.outlook(standing)]
        }
        assert seen == decided
