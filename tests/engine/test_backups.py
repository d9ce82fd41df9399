"""A policy protects what it names, and its record tells how it went."""

from datetime import timedelta

import pytest

from cpm.engine import tick
from cpm.models.backups import Backup, BackupOutcome, Trigger
from cpm.models.policies import AutoRemove
from cpm.models.snapshots import SnapshotStatus
from tests.engine.world import (
    OTHER_REGION,
    World,
    instance_target,
    log_of,
    name_volumes,
    open_alerts,
    refs_of,
    volume_target,
)

SUCCEEDED, PARTIAL, FAILED = BackupOutcome.SUCCEEDED, BackupOutcome.PARTIAL, BackupOutcome.FAILED


def test_a_volume_is_protected_and_the_record_says_so(world: World) -> None:
    volume_id = world.volume()
    backup = world.backup(world.policy(volume_target(volume_id)))
    assert backup.outcome == SUCCEEDED
    (snapshot,) = backup.snapshots.all()
    (in_aws,) = world.snapshots_in_aws(cpm_backup_id=str(backup.pk))
    assert in_aws["SnapshotId"] == snapshot.aws_ref
    assert in_aws["VolumeId"] == volume_id == snapshot.resource_id
    assert snapshot.status == SnapshotStatus.SUCCEEDED
    assert snapshot.size_gib == in_aws["VolumeSize"]
    assert log_of(backup) == ["backup_started", "snapshots_started", "backup_succeeded"]


def test_all_volumes_of_an_instance_are_taken_in_one_call(world: World) -> None:
    estate = world.seed(instances=1, volumes_per=3)
    (instance_id,) = estate["instances"]
    backup = world.backup(world.policy(instance_target(instance_id)))
    assert backup.outcome == SUCCEEDED
    made = world.snapshots_in_aws(cpm_backup_id=str(backup.pk))
    assert {each["VolumeId"] for each in made} == set(estate["volumes"][instance_id])
    assert {each["SnapshotId"] for each in made} == refs_of(backup)
    assert world.simulator.counts()["ec2:CreateSnapshots"] == 1


def test_volumes_that_the_target_leaves_out_are_not_taken(world: World) -> None:
    estate = world.seed(instances=1, volumes_per=3)
    (instance_id,) = estate["instances"]
    target = instance_target(instance_id, volumes_mode="E")
    policy = world.policy(target)
    left_out = estate["volumes"][instance_id][1]
    name_volumes(target, [left_out])
    backup = world.backup(policy)
    taken = {snapshot.resource_id for snapshot in backup.snapshots.all()}
    assert taken == set(estate["volumes"][instance_id]) - {left_out}


def test_one_record_covers_several_regions(world: World) -> None:
    here, there = world.volume(), world.volume(OTHER_REGION)
    policy = world.policy(volume_target(here), volume_target(there, OTHER_REGION))
    backup = world.backup(policy)
    assert backup.outcome == SUCCEEDED
    assert len(world.snapshots_in_aws(cpm_backup_id=str(backup.pk))) == 1
    assert len(world.snapshots_in_aws(OTHER_REGION, cpm_backup_id=str(backup.pk))) == 1


def test_a_volume_that_aws_cannot_snapshot_makes_the_record_partial(world: World) -> None:
    good, bad = world.volume(), world.volume()
    world.simulator.config(fail=[bad])
    backup = world.backup(world.policy(volume_target(good), volume_target(bad)))
    assert backup.outcome == PARTIAL
    assert backup.snapshots.get(resource_id=good).status == SnapshotStatus.SUCCEEDED
    failed = backup.snapshots.get(resource_id=bad)
    assert failed.status == SnapshotStatus.FAILED
    assert failed.error
    assert "snapshot_failed" in log_of(backup)


def test_a_run_that_protected_nothing_has_failed(world: World) -> None:
    bad = world.volume()
    world.simulator.config(fail=[bad])
    assert world.backup(world.policy(volume_target(bad))).outcome == FAILED


def test_what_failed_is_repeated_as_a_new_record_of_the_same_run(world: World) -> None:
    good, bad = world.volume(), world.volume()
    world.simulator.config(fail=[bad])
    policy = world.policy(
        volume_target(good), volume_target(bad), retry_count=2, retry_wait_minutes=60
    )
    first = world.backup(policy)
    world.simulator.config(fail=[])
    world.pass_time(timedelta(minutes=50))
    assert Backup.objects.count() == 1
    world.pass_time(timedelta(minutes=11))
    repeat = Backup.objects.exclude(pk=first.pk).get()
    assert (repeat.trigger, repeat.attempt, repeat.run) == (Trigger.RETRY, 1, first.run)
    assert repeat.outcome == SUCCEEDED
    assert [snapshot.resource_id for snapshot in repeat.snapshots.all()] == [bad]


def test_a_repeat_names_the_time_that_the_first_record_was_scheduled_for(world: World) -> None:
    bad = world.volume()
    world.simulator.config(fail=[bad])
    policy = world.policy(volume_target(bad), retry_count=1, retry_wait_minutes=0)
    world.schedule(policy, every_unit="H", every_how_many=1)
    world.pass_time(timedelta(hours=1, minutes=5))
    first, repeat = Backup.objects.order_by("pk")
    assert first.trigger == Trigger.SCHEDULE
    assert repeat.trigger == Trigger.RETRY
    assert repeat.scheduled_at == first.scheduled_at is not None


def test_it_is_repeated_as_often_as_the_policy_says(world: World) -> None:
    bad = world.volume()
    world.simulator.config(fail=[bad])
    world.backup(world.policy(volume_target(bad), retry_count=3, retry_wait_minutes=1))
    world.pass_time(timedelta(hours=1))
    assert [backup.attempt for backup in Backup.objects.order_by("pk")] == [0, 1, 2, 3]


def test_a_repeat_that_a_newer_run_has_overtaken_does_not_take_place(world: World) -> None:
    bad = world.volume()
    world.simulator.config(fail=[bad])
    policy = world.policy(volume_target(bad), retry_count=1, retry_wait_minutes=60)
    first = world.backup(policy)
    world.simulator.config(fail=[])
    newer = world.backup(policy)
    world.pass_time(timedelta(hours=2))
    assert list(Backup.objects.order_by("pk")) == [first, newer]
    assert "backup_repeat_dropped" in log_of(first)


def test_a_policy_runs_once_at_a_time(world: World) -> None:
    policy = world.policy(volume_target(world.volume()))
    tick.run_now(policy)
    with pytest.raises(tick.AlreadyRunning):
        tick.run_now(policy)


def test_a_policy_without_targets_cannot_be_run_by_hand(world: World) -> None:
    with pytest.raises(tick.NothingToProtect):
        tick.run_now(world.policy())


def test_a_vanished_target_makes_the_run_partial(world: World) -> None:
    gone, there = world.volume(), world.volume()
    policy = world.policy(volume_target(gone), volume_target(there), retry_count=3)
    world.ec2().delete_volume(VolumeId=gone)
    backup = world.backup(policy)
    assert backup.outcome == PARTIAL
    assert backup.retry_at is None  # there is nothing to repeat
    assert policy.targets.get(resource_id=gone).is_missing
    assert "target_missing" in log_of(backup)
    assert f"policy:{policy.pk}:missing" in open_alerts()


def test_a_policy_of_which_nothing_is_left_fails(world: World) -> None:
    gone = world.volume()
    policy = world.policy(volume_target(gone), auto_remove_resource=AutoRemove.YES)
    world.ec2().delete_volume(VolumeId=gone)
    assert world.backup(policy).outcome == FAILED


def test_a_vanished_target_is_taken_out_and_harms_nothing_where_that_is_wished(
    world: World,
) -> None:
    gone, there = world.volume(), world.volume()
    policy = world.policy(
        volume_target(gone), volume_target(there), auto_remove_resource=AutoRemove.YES
    )
    world.ec2().delete_volume(VolumeId=gone)
    backup = world.backup(policy)
    assert backup.outcome == SUCCEEDED
    assert [target.resource_id for target in policy.targets.all()] == [there]
    assert "target_removed" in log_of(backup)
    assert open_alerts() == set()


def test_taking_a_target_out_alerts_where_that_is_wished(world: World) -> None:
    gone, there = world.volume(), world.volume()
    policy = world.policy(
        volume_target(gone), volume_target(there), auto_remove_resource=AutoRemove.YES_AND_ALERT
    )
    world.ec2().delete_volume(VolumeId=gone)
    assert world.backup(policy).outcome == SUCCEEDED
    assert policy.targets.count() == 1


def test_a_region_that_cannot_be_reached_is_tried_again_while_others_go_on(world: World) -> None:
    here, there = world.volume(), world.volume(OTHER_REGION)
    policy = world.policy(volume_target(here), volume_target(there, OTHER_REGION))
    world.simulator.faults([{"op": "ec2:DescribeVolumes", "kind": "503", "region": OTHER_REGION}])
    backup = tick.run_now(policy)
    for _ in range(3):
        world.work()
        world.next_look()
    backup.refresh_from_db()
    assert backup.outcome == ""
    assert backup.snapshots.get().resource_id == here
    world.simulator.faults([])
    world.drain()
    backup.refresh_from_db()
    assert backup.outcome == SUCCEEDED
    assert backup.snapshots.count() == 2


def test_a_region_that_stays_away_fails_alone(world: World) -> None:
    here, there = world.volume(), world.volume(OTHER_REGION)
    policy = world.policy(volume_target(here), volume_target(there, OTHER_REGION))
    world.simulator.faults([{"op": "ec2:DescribeVolumes", "kind": "503", "region": OTHER_REGION}])
    backup = world.backup(policy)
    assert backup.outcome == PARTIAL
    assert log_of(backup).count("region_unreachable") == 1
    assert log_of(backup).count("region_failed") == 1


def test_an_account_that_lets_nobody_in_is_told_of_until_it_does(world: World) -> None:
    policy = world.policy(volume_target(world.volume()))
    world.simulator.config(revoked=[world.account.aws_access_key])
    backup = world.backup(policy)
    cause = f"account:{world.account.pk}:denied"
    assert backup.outcome == FAILED
    assert cause in open_alerts()
    world.simulator.config(revoked=[])
    assert world.backup(policy).outcome == SUCCEEDED
    assert cause not in open_alerts()


def test_keys_that_are_changed_in_time_save_the_run(world: World) -> None:
    policy = world.policy(volume_target(world.volume()))
    world.simulator.config(revoked=[world.account.aws_access_key])
    backup = tick.run_now(policy)
    world.work()
    world.simulator.config(revoked=[])
    world.drain()
    backup.refresh_from_db()
    assert backup.outcome == SUCCEEDED


def test_failures_raise_one_alert_that_the_next_success_resolves(world: World) -> None:
    bad = world.volume()
    world.simulator.config(fail=[bad])
    policy = world.policy(volume_target(bad), alert_after_failures=2)
    cause = f"policy:{policy.pk}:failed"
    world.backup(policy)
    assert cause not in open_alerts()
    world.backup(policy)
    world.backup(policy)
    assert cause in open_alerts()
    world.simulator.config(fail=[])
    world.backup(policy)
    assert cause not in open_alerts()


def test_a_policy_without_a_success_for_all_its_generations_is_told_of(world: World) -> None:
    bad = world.volume()
    world.simulator.config(fail=[bad])
    policy = world.policy(volume_target(bad), generations=2)
    cause = f"policy:{policy.pk}:no_success"
    world.backup(policy)
    assert cause not in open_alerts()
    world.backup(policy)
    assert cause in open_alerts()


def test_a_record_outlives_its_policy(world: World) -> None:
    policy = world.policy(volume_target(world.volume()))
    backup = world.backup(policy)
    policy.delete()
    backup.refresh_from_db()
    assert (backup.policy, backup.policy_name) == (None, policy.name)


def test_what_a_backup_saw_of_its_targets_is_kept_in_the_policy(world: World) -> None:
    volume_id = world.volume()
    policy = world.policy(volume_target(volume_id))
    world.ec2().create_tags(Resources=[volume_id], Tags=[{"Key": "Name", "Value": "data"}])
    world.backup(policy)
    target = policy.targets.get()
    assert target.name == "data"
    assert target.size_gib > 0
