"""Whatever becomes of a call, each intended snapshot exists once, and the record is true."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cpm.engine import events, identity, operations, queue, tick
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupOutcome
from cpm.models.operations import OperationPhase
from cpm.models.policies import Policy
from tests.engine.world import (
    World,
    at_once,
    instance_target,
    log_of,
    planned_operations,
    refs_of,
    volume_target,
)

ONE, MANY, LIST = "ec2:CreateSnapshot", "ec2:CreateSnapshots", "ec2:DescribeSnapshots"


def fault(world: World, kind: str, op: str = ONE, times: int | None = 1) -> None:
    world.simulator.faults([{"op": op, "kind": kind, "times": times}])


def volume_policy(world: World) -> Policy:
    return world.policy(volume_target(world.volume()))


def made(world: World, backup: Backup) -> list[dict[str, Any]]:
    return world.snapshots_in_aws(cpm_backup_id=str(backup.pk))


def test_what_several_workers_look_at_at_once_is_asked_for_once(world: World) -> None:
    policy = world.policy(*(volume_target(world.volume()) for _ in range(6)))
    backup = tick.run_now(policy)
    planned = planned_operations(backup)
    at_once(4, lambda: operations.look(planned[0], planned[-1] - planned[0] + 1))
    assert world.simulator.counts()["ec2:CreateSnapshot"] == 6
    assert set(backup.operations.values_list("attempts", flat=True)) == {1}
    world.drain()
    assert len(made(world, backup)) == 6


@pytest.mark.parametrize("kind", ["lost", "drop", "500", "503"])
def test_a_call_without_an_answer_makes_one_snapshot(world: World, kind: str) -> None:
    fault(world, kind)
    backup = world.backup(volume_policy(world))
    assert backup.outcome == BackupOutcome.SUCCEEDED
    assert {each["SnapshotId"] for each in made(world, backup)} == refs_of(backup)
    assert len(refs_of(backup)) == 1
    assert "answer_lost" in log_of(backup)


@pytest.mark.parametrize("kind", ["lost", "drop"])
def test_an_instance_is_taken_once_when_the_answer_does_not_come(world: World, kind: str) -> None:
    (instance_id,) = world.seed(instances=1, volumes_per=3)["instances"]
    fault(world, kind, MANY)
    backup = world.backup(world.policy(instance_target(instance_id)))
    assert backup.outcome == BackupOutcome.SUCCEEDED
    assert {each["SnapshotId"] for each in made(world, backup)} == refs_of(backup)
    assert len(refs_of(backup)) == 3


def test_what_aws_did_without_telling_is_adopted_and_not_asked_for_again(world: World) -> None:
    fault(world, "lost")
    world.backup(volume_policy(world))
    assert world.simulator.counts()[ONE] == 1


def test_nothing_is_searched_or_asked_for_before_aws_has_settled(
    world: World, settings: Any
) -> None:
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, settle_seconds=7200)
    fault(world, "lost")
    backup = tick.run_now(volume_policy(world))
    world.pass_time(timedelta(minutes=10))
    assert world.simulator.counts()[ONE] == 1
    assert LIST not in world.simulator.counts()
    assert backup.operations.get().phase == OperationPhase.STARTING


def test_a_search_that_fails_decides_nothing(world: World) -> None:
    world.simulator.faults(
        [{"op": ONE, "kind": "lost", "times": 1}, {"op": LIST, "kind": "denied", "times": 5}]
    )
    backup = world.backup(volume_policy(world))
    assert backup.outcome == BackupOutcome.SUCCEEDED
    assert len(made(world, backup)) == 1


def test_throttled_calls_are_repeated_until_aws_takes_them(world: World) -> None:
    fault(world, "throttle", times=3)
    backup = world.backup(volume_policy(world))
    assert backup.outcome == BackupOutcome.SUCCEEDED
    assert world.simulator.counts()[ONE] == 4
    assert len(made(world, backup)) == 1


def test_rights_that_come_back_within_minutes_save_the_snapshot(world: World) -> None:
    fault(world, "denied", times=2)
    backup = world.backup(volume_policy(world))
    assert backup.outcome == BackupOutcome.SUCCEEDED
    assert log_of(backup).count("call_refused") == 2


def test_rights_that_stay_away_fail_the_snapshot_with_the_words_of_aws(world: World) -> None:
    fault(world, "denied", times=None)
    backup = world.backup(volume_policy(world))
    assert backup.outcome == BackupOutcome.FAILED
    assert world.simulator.counts()[ONE] == 3
    assert "ec2:CreateSnapshot UnauthorizedOperation" in backup.snapshots.get().error


def test_a_volume_that_vanishes_before_it_is_its_turn_fails_alone(world: World) -> None:
    there, gone = world.volume(), world.volume()
    backup = tick.run_now(world.policy(volume_target(there), volume_target(gone)))
    assert queue.run_next()  # plans
    world.ec2().delete_volume(VolumeId=gone)
    world.drain()
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.PARTIAL
    assert "InvalidVolume.NotFound" in backup.snapshots.get(resource_id=gone).error


def test_a_volume_attached_in_the_last_moment_is_taken_and_known(world: World) -> None:
    (instance_id,) = world.seed(instances=1, volumes_per=2)["instances"]
    late = world.volume()
    backup = tick.run_now(world.policy(instance_target(instance_id)))
    assert queue.run_next()  # plans
    world.ec2().attach_volume(VolumeId=late, InstanceId=instance_id, Device="/dev/sdz")
    world.drain()
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.SUCCEEDED
    assert {each["SnapshotId"] for each in made(world, backup)} == refs_of(backup)
    assert backup.snapshots.filter(resource_id=late).count() == 1


def test_a_full_quota_is_waited_for(world: World) -> None:
    volume_id = world.volume()
    world.simulator.config(pending=100_000, limits={"pending_per_volume": 1})
    world.ec2().create_snapshot(VolumeId=volume_id)
    backup = tick.run_now(world.policy(volume_target(volume_id)))
    world.work()
    assert backup.operations.get().fault == "quota"
    world.simulator.finish()
    world.simulator.config(pending=0, limits={"pending_per_volume": 5})
    world.drain()
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.SUCCEEDED
    assert len(made(world, backup)) == 1


def test_what_cannot_be_done_by_its_deadline_has_failed(world: World) -> None:
    fault(world, "throttle", times=None)
    backup = tick.run_now(volume_policy(world))
    world.work()
    backup.operations.update(deadline_at=clock.now() + timedelta(minutes=10))
    world.drain()
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.FAILED
    assert backup.operations.get().error.startswith("given up at the deadline")
    assert made(world, backup) == []


def test_everything_made_carries_the_marks_of_who_wanted_it(world: World) -> None:
    backup = world.backup(volume_policy(world))
    (snapshot,) = made(world, backup)
    tags = {tag["Key"]: tag["Value"] for tag in snapshot["Tags"]}
    assert tags["cpm_server_id"] == identity.server_id()
    assert tags["cpm_policy_name"] == backup.policy_name
    assert tags["cpm_backup_id"] == str(backup.pk)
    assert tags["cpm_token"] == str(backup.operations.get().token)


def test_an_account_that_is_taken_away_ends_what_it_was_needed_for(world: World) -> None:
    world.simulator.config(pending=100_000)
    policy = volume_policy(world)
    backup = tick.run_now(policy)
    world.work()
    policy.delete()
    world.account.delete()
    world.drain()
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.FAILED
    assert backup.operations.get().error == "the account was deleted from the server"


def test_tags_that_are_put_afterwards_have_a_line_of_their_own(world: World) -> None:
    tags = {f"key-{n}": "value" for n in range(48)}  # too many for AWS to copy beside ours
    (instance_id,) = world.seed(instances=1, volumes_per=2, tags=tags)["instances"]
    backup = world.backup(world.policy(instance_target(instance_id)))
    lines = [events.text(event.code, event.values) for event in backup.events.order_by("pk")]
    assert lines[1].startswith(f"Started for {instance_id}: snap-")
    assert lines[2] == f"tag_snapshots of {instance_id}: done."


def test_tags_that_cannot_be_put_are_told_of_and_cost_no_snapshot(world: World) -> None:
    tags = {f"key-{n}": "value" for n in range(48)}  # too many for AWS to copy beside ours
    (instance_id,) = world.seed(instances=1, volumes_per=2, tags=tags)["instances"]
    fault(world, "denied", "ec2:CreateTags", times=None)
    backup = world.backup(world.policy(instance_target(instance_id)))
    assert backup.outcome == BackupOutcome.SUCCEEDED
    assert len(made(world, backup)) == 2
    assert "step_failed" in log_of(backup)
