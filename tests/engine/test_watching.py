"""What AWS works on is watched in few calls, and only its own word, or the deadline, ends it."""

from datetime import timedelta

from cpm.engine import queue, tick
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupOutcome
from cpm.models.operations import OperationPhase
from cpm.models.snapshots import SnapshotStatus
from tests.engine.world import (
    World,
    fail_until_given_up,
    instance_target,
    log_of,
    make_account,
    refs_of,
    volume_target,
)

LIST = "ec2:DescribeSnapshots"
FOR_LONG = 100_000


def begin(world: World, volumes: int = 1) -> Backup:
    """A backup whose snapshots AWS works on."""
    world.simulator.config(pending=FOR_LONG)
    backup = tick.run_now(world.policy(*(volume_target(world.volume()) for _ in range(volumes))))
    world.work()
    return backup


def look_again(world: World, times: int = 1) -> None:
    for _ in range(times):
        assert world.next_look()
        world.work()


def end(world: World, backup: Backup) -> BackupOutcome:
    world.simulator.finish()
    world.drain()
    backup.refresh_from_db()
    return BackupOutcome(backup.outcome)


def test_a_snapshot_is_in_progress_until_aws_says_otherwise(world: World) -> None:
    backup = begin(world)
    look_again(world, times=5)
    snapshot = backup.snapshots.get()
    assert snapshot.status == SnapshotStatus.IN_PROGRESS
    assert snapshot.aws_ref
    assert end(world, backup) == BackupOutcome.SUCCEEDED
    snapshot.refresh_from_db()
    assert snapshot.progress_percent == 100
    assert snapshot.finished_at is not None


def test_all_snapshots_of_a_region_are_seen_in_one_call_a_round(world: World) -> None:
    begin(world, volumes=4)
    begin(world, volumes=4)
    world.simulator.reset_counts()
    look_again(world)
    assert world.simulator.counts()[LIST] == 1


def test_polls_that_fail_decide_nothing(world: World) -> None:
    backup = begin(world)
    for kind in ("503", "denied", "throttle", "drop"):
        world.simulator.faults([{"op": LIST, "kind": kind}])
        look_again(world, times=2)
    assert backup.operations.get().phase == OperationPhase.STARTED
    world.simulator.faults([])
    assert end(world, backup) == BackupOutcome.SUCCEEDED


def test_a_region_that_is_away_for_hours_decides_nothing(world: World) -> None:
    backup = begin(world)
    world.simulator.faults([{"op": LIST, "kind": "503", "times": None}])
    look_again(world, times=2 * queue.MOST_ATTEMPTS)
    assert backup.operations.get().phase == OperationPhase.STARTED
    world.simulator.faults([])
    assert end(world, backup) == BackupOutcome.SUCCEEDED


def test_what_our_own_code_cannot_watch_has_failed_and_spoils_nothing_else(world: World) -> None:
    backups = [begin(world) for _ in range(3)]
    broken = backups.pop(1)
    broken.operations.update(refs=["not", "as", "written"])
    world.simulator.finish()
    fail_until_given_up(world)
    assert [end(world, backup) for backup in backups] == [BackupOutcome.SUCCEEDED] * 2
    assert end(world, broken) == BackupOutcome.FAILED
    assert "error of the server" in broken.operations.get().error
    assert "error of the server" in broken.snapshots.get().error
    assert log_of(broken)[-2:] == ["snapshot_failed", "backup_failed"]


def test_a_watch_that_does_not_exist_ends_what_waits_for_it(world: World) -> None:
    backup = begin(world, volumes=2)
    backup.operations.update(watch="no_such_watch")
    fail_until_given_up(world)
    assert end(world, backup) == BackupOutcome.FAILED


def test_a_snapshot_that_somebody_deletes_meanwhile_has_failed(world: World) -> None:
    backup = begin(world)
    world.ec2().delete_snapshot(SnapshotId=refs_of(backup).pop())
    assert end(world, backup) == BackupOutcome.FAILED
    assert "does not exist any longer" in backup.snapshots.get().error


def test_what_aws_does_not_list_yet_is_not_gone(world: World) -> None:
    world.simulator.faults([{"op": "ec2:CreateSnapshot", "kind": "unlisted", "seconds": 2}])
    backup = begin(world)
    look_again(world)
    assert backup.operations.get().phase == OperationPhase.STARTED
    assert clock.wait_until(lambda: len(world.snapshots_in_aws()) == 1, timeout_seconds=60)
    assert end(world, backup) == BackupOutcome.SUCCEEDED


def test_one_failed_snapshot_of_an_instance_leaves_the_others_good(world: World) -> None:
    estate = world.seed(instances=1, volumes_per=3)
    (instance_id,) = estate["instances"]
    bad = estate["volumes"][instance_id][1]
    world.simulator.config(fail=[bad])
    backup = world.backup(world.policy(instance_target(instance_id)))
    assert backup.outcome == BackupOutcome.PARTIAL
    by_status = dict(backup.snapshots.values_list("resource_id", "status"))
    assert by_status.pop(bad) == SnapshotStatus.FAILED
    assert set(by_status.values()) == {SnapshotStatus.SUCCEEDED}


def test_what_aws_never_finishes_has_failed_at_the_deadline(world: World) -> None:
    backup = begin(world)
    backup.operations.update(deadline_at=clock.now() + timedelta(minutes=5))
    world.drain()
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.FAILED
    assert backup.operations.get().error == "AWS has not finished it in time"


def test_what_takes_long_is_looked_at_less_often(world: World) -> None:
    begin(world)
    world.simulator.reset_counts()
    world.pass_time(timedelta(minutes=10))
    assert world.simulator.counts()[LIST] < 60  # one each five seconds would be 120
    world.simulator.reset_counts()
    world.pass_time(timedelta(minutes=10))
    assert world.simulator.counts()[LIST] <= 11


def test_a_new_snapshot_does_not_wait_for_an_old_one(world: World) -> None:
    begin(world)
    world.pass_time(timedelta(minutes=20))
    world.simulator.config(pending=0)
    quick = tick.run_now(world.policy(volume_target(world.volume())))
    world.pass_time(timedelta(seconds=20))
    quick.refresh_from_db()
    assert quick.outcome == BackupOutcome.SUCCEEDED


def test_accounts_are_watched_apart(world: World) -> None:
    begin(world)
    other = world.simulator.account("299999999999")
    world.account = make_account(world.user, other)
    world.credentials = other
    begin(world)
    world.simulator.reset_counts()
    look_again(world)
    look_again(world)
    by_account = {
        row["account"] for row in world.simulator.counts_by("account") if row["op"] == LIST
    }
    assert len(by_account) == 2
