"""What AWS keeps for this server and what the rows say come together again."""

from datetime import timedelta
from typing import Any

import pytest

from cpm.aws import tags
from cpm.engine import deleted, deletions, identity, inventory, tick
from cpm.kernel import clock, regions
from cpm.models.alerts import Alert
from cpm.models.backups import Backup, BackupOutcome, CopyStatus
from cpm.models.policies import Policy
from cpm.models.settings import Setting
from cpm.models.snapshots import Snapshot, SnapshotStatus
from tests.engine.stock import SEE, cleanup_log, take_stock, volumes
from tests.engine.world import (
    OTHER_REGION,
    REGION,
    World,
    instance_target,
    log_of,
    make_account,
    make_world,
    open_alerts,
    refs_of,
    volume_target,
)


def copied(world: World) -> Policy:
    """A policy whose only snapshot is copied to another region."""
    region = regions.by_name(OTHER_REGION)
    assert region is not None
    volume = volume_target(world.volume())
    return world.policy(volume, dr_enabled=True, dr_regions=[region.id])


def give_up(world: World, policy: Policy, operation: str) -> Backup:
    """A backup that AWS has made, but whose answer is lost and which cannot be found in time."""
    denied = {"op": "ec2:*", "kind": "denied"}
    world.simulator.faults([{"op": operation, "kind": "lost"}])
    backup = tick.run_now(policy)
    world.work()
    world.simulator.faults([denied])
    world.move_to(clock.now() + timedelta(hours=49))
    world.drain()
    world.simulator.faults([])
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.FAILED
    assert refs_of(backup) == {""}
    return backup


def mark(world: World, snapshot_id: str, **marks: str) -> None:
    """Put tags on a snapshot."""
    world.ec2().create_tags(Resources=[snapshot_id], Tags=tags.to_aws(marks))


def foreign(world: World, **marks: str) -> str:
    """A snapshot that somebody else has made, with these tags."""
    made = world.ec2().create_snapshot(VolumeId=world.volume())["SnapshotId"]
    mark(world, made, **marks)
    return str(made)


def unknown_cause(world: World) -> str:
    return inventory.unknown_cause(world.account, REGION)


def vanished_cause(world: World) -> str:
    return deleted.vanished_cause(world.account)


# --- what AWS has made and no row knows -----------------------------------------------------------


def test_what_aws_made_after_all_is_taken_into_its_record(world: World) -> None:
    backup = give_up(world, volumes(world), "ec2:CreateSnapshot")
    (made,) = world.snapshots_in_aws(cpm_backup_id=str(backup.pk))
    take_stock(world)
    row = backup.snapshots.get()
    assert (row.aws_ref, row.status, row.error) == (
        made["SnapshotId"],
        SnapshotStatus.SUCCEEDED,
        "",
    )
    assert (row.size_gib, row.progress_percent) == (made["VolumeSize"], 100)
    assert row.started_at is not None
    backup.refresh_from_db()
    # Something is protected; but it was not all known in time, so it pushes out no generation.
    assert backup.outcome == BackupOutcome.PARTIAL
    assert log_of(backup)[-1] == "snapshot_adopted"
    assert unknown_cause(world) not in open_alerts()


def test_all_volumes_of_an_instance_are_taken_in_also_one_that_nobody_planned(
    world: World,
) -> None:
    estate = world.seed(instances=1, volumes_per=2)
    (instance_id,) = estate["instances"]
    backup = give_up(world, world.policy(instance_target(instance_id)), "ec2:CreateSnapshots")
    # A volume that was attached just before the call has a snapshot, too.
    planned, _ = backup.snapshots.order_by("pk")
    Snapshot.objects.filter(pk=planned.pk).delete()
    take_stock(world)
    assert set(backup.snapshots.values_list("resource_id", flat=True)) == set(
        estate["volumes"][instance_id]
    )
    assert set(backup.snapshots.values_list("status", flat=True)) == {SnapshotStatus.SUCCEEDED}
    assert backup.snapshots.exclude(target__resource_id=instance_id).count() == 0


def test_an_ami_is_taken_in_and_goes_with_its_record(world: World) -> None:
    (instance_id,) = world.seed(instances=1, volumes_per=2)["instances"]
    policy = world.policy(instance_target(instance_id, backup_option="N"))
    backup = give_up(world, policy, "ec2:CreateImage")
    take_stock(world)
    row = backup.snapshots.get()
    assert (row.collection, row.status) == ("only_amis", SnapshotStatus.SUCCEEDED)
    assert len(row.facts["snapshots"]) == 2
    deletions.request(deletions.of_backup(backup))
    world.drain()
    assert world.snapshots_in_aws() == []


def test_what_aws_could_not_make_is_taken_in_as_failed(world: World) -> None:
    policy = volumes(world)
    world.simulator.config(fail=[policy.targets.get().resource_id])
    backup = give_up(world, policy, "ec2:CreateSnapshot")
    take_stock(world)
    row = backup.snapshots.get()
    assert (row.status, bool(row.aws_ref)) == (SnapshotStatus.FAILED, True)
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.FAILED


def test_of_several_copies_with_one_token_the_others_are_reported(world: World) -> None:
    backup = give_up(world, volumes(world), "ec2:CreateSnapshot")
    (made,) = world.snapshots_in_aws(cpm_backup_id=str(backup.pk))
    second = world.ec2().create_snapshot(VolumeId=made["VolumeId"])["SnapshotId"]
    mark(world, second, **tags.from_aws(made["Tags"]))
    take_stock(world)
    row = backup.snapshots.get()
    (told,) = cleanup_log("inventory_unknown")
    assert {row.aws_ref, told["snapshot"]} == {made["SnapshotId"], second}
    assert told["reason"] == "its record has another copy, or has given it up"
    assert unknown_cause(world) in open_alerts()


def test_what_is_under_way_is_left_alone(world: World) -> None:
    policy = volumes(world)
    world.simulator.faults([{"op": "ec2:CreateSnapshot", "kind": "lost", "times": 1}])
    backup = tick.run_now(policy)
    world.work()
    assert refs_of(backup) == {""}
    inventory.start()
    world.work()
    assert refs_of(backup) == {""}
    assert cleanup_log("inventory_unknown") == []
    world.drain()
    assert backup.snapshots.get().status == SnapshotStatus.SUCCEEDED


def test_what_aws_is_not_done_with_is_left_for_the_next_time(world: World) -> None:
    world.simulator.config(pending=1_000_000)
    backup = give_up(world, volumes(world), "ec2:CreateSnapshot")
    take_stock(world)
    assert refs_of(backup) == {""}
    assert open_alerts() & {unknown_cause(world)} == set()
    world.simulator.finish()
    take_stock(world)
    assert backup.snapshots.get().status == SnapshotStatus.SUCCEEDED


# --- what belongs to no record --------------------------------------------------------------------


def test_what_belongs_to_no_record_is_reported_until_it_is_gone_and_never_deleted(
    world: World,
) -> None:
    world.backup(volumes(world))
    marks = {tags.SERVER_ID: identity.server_id(), tags.BACKUP_ID: "999999"}
    orphans = {foreign(world, **marks) for _ in range(7)}
    take_stock(world)
    alert = Alert.objects.get(cause=unknown_cause(world), resolved_at=None)
    assert (alert.category, alert.user) == ("Cleanup", world.user)
    assert "7 carry this server's tags" in alert.message
    assert "and 2 others" in alert.message
    told = cleanup_log("inventory_unknown")
    assert {each["snapshot"] for each in told} == orphans
    assert {each["reason"] for each in told} == {"no record here knows of it"}
    assert orphans <= {each["SnapshotId"] for each in world.snapshots_in_aws()}

    for snapshot_id in orphans:
        world.ec2().delete_snapshot(SnapshotId=snapshot_id)
    take_stock(world)
    assert unknown_cause(world) not in open_alerts()


def test_a_record_that_was_thrown_away_takes_nothing_in(world: World) -> None:
    backup = give_up(world, volumes(world), "ec2:CreateSnapshot")
    deletions.discard(backup)
    take_stock(world)
    assert not Backup.objects.exists()
    (told,) = cleanup_log("inventory_unknown")
    assert told["reason"] == "no record here knows of it"


def test_what_somebody_copies_tags_and_all_is_his_own(world: World) -> None:
    """Taken in, it would go with the record."""
    backup = world.backup(volumes(world))
    (ours,) = world.snapshots_in_aws(cpm_backup_id=str(backup.pk))
    theirs = foreign(world, **tags.from_aws(ours["Tags"]))
    take_stock(world)
    deletions.request(deletions.of_backup(backup))
    world.drain()
    take_stock(world)
    assert [each["SnapshotId"] for each in world.snapshots_in_aws()] == [theirs]
    assert {each["snapshot"] for each in cleanup_log("inventory_unknown")} == {theirs}


def test_what_a_deletion_left_is_reported(world: World) -> None:
    backup = world.backup(volumes(world))
    (ours,) = world.snapshots_in_aws()
    deletions.request(deletions.of_backup(backup))
    world.drain()
    # As from a recycle bin.
    restored = foreign(world, **tags.from_aws(ours["Tags"]))
    Snapshot.objects.filter(backup=backup).update(aws_ref=restored)
    take_stock(world)
    (told,) = cleanup_log("inventory_unknown")
    assert (told["snapshot"], told["reason"]) == (restored, "it was to be deleted")


def test_snapshots_that_outlive_their_ami_are_reported(world: World) -> None:
    (instance_id,) = world.seed(instances=1, volumes_per=2)["instances"]
    backup = world.backup(world.policy(instance_target(instance_id, backup_option="N")))
    image = backup.snapshots.get()
    world.ec2().deregister_image(ImageId=image.aws_ref)
    take_stock(world)
    image.refresh_from_db()
    assert image.status == SnapshotStatus.DELETED
    assert cleanup_log("inventory_unknown") == []
    take_stock(world)
    left = set(image.facts["snapshots"].values())
    assert {each["snapshot"] for each in cleanup_log("inventory_unknown")} == left
    assert {each["SnapshotId"] for each in world.snapshots_in_aws()} == left


def test_servers_in_one_account_do_not_see_what_is_the_others(world: World) -> None:
    backup = world.backup(volumes(world, 2))
    Setting.objects.filter(section="identifier").delete()
    # To this server the other one's snapshots are nothing; and it has lost its own.
    other = world.backup(volumes(world))
    take_stock(world)
    assert cleanup_log("inventory_unknown") == []
    finished = cleanup_log("inventory_finished")[-1]
    assert finished["listed"] == 1
    assert finished["vanished"] == 0
    assert len(world.snapshots_in_aws()) == len(refs_of(backup) | refs_of(other)) == 3


def test_users_who_share_an_account_do_not_alarm_each_other(world: World) -> None:
    world.backup(volumes(world))
    other = make_account(make_world(world.simulator).user, world.credentials)
    policy = volumes(world)
    policy.account = other
    policy.save()
    world.backup(policy)
    take_stock(world)
    assert [each["listed"] for each in cleanup_log("inventory_finished")[-2:]] == [2, 2]
    assert cleanup_log("inventory_unknown") == []


# --- what somebody else has deleted ---------------------------------------------------------------


def test_what_somebody_else_deletes_is_marked_and_told(world: World) -> None:
    backup, whole = world.backup(volumes(world, 2)), world.backup(volumes(world))
    lost, kept = backup.snapshots.order_by("pk")
    for row in (lost, whole.snapshots.get()):
        world.ec2().delete_snapshot(SnapshotId=row.aws_ref)
    take_stock(world)
    lost.refresh_from_db()
    kept.refresh_from_db()
    assert (lost.status, kept.status) == (SnapshotStatus.DELETED, SnapshotStatus.SUCCEEDED)
    assert lost.deleted_at is not None
    backup.refresh_from_db()
    whole.refresh_from_db()
    assert (backup.outcome, whole.outcome) == (BackupOutcome.SUCCEEDED, BackupOutcome.DELETED)
    assert log_of(backup)[-1] == "snapshot_vanished"
    alert = Alert.objects.get(cause=vanished_cause(world), resolved_at=None)
    assert alert.message.startswith("2 are not in AWS any longer: ")
    assert f"{lost.aws_ref} of backup {backup.pk}" in alert.message
    # Told once, and for a week.
    take_stock(world)
    assert log_of(backup).count("snapshot_vanished") == 1
    assert vanished_cause(world) in open_alerts()
    world.move_to(clock.now() + timedelta(days=8))
    take_stock(world)
    assert vanished_cause(world) not in open_alerts()


def test_what_is_in_aws_again_is_good_again(world: World) -> None:
    backup = world.backup(volumes(world))
    row = backup.snapshots.get()
    # As when an account was entered with the keys of another one for a day.
    Snapshot.objects.filter(pk=row.pk).update(status=SnapshotStatus.DELETED, deleted_at=clock.now())
    Backup.objects.filter(pk=backup.pk).update(outcome=BackupOutcome.DELETED)
    take_stock(world)
    row.refresh_from_db()
    backup.refresh_from_db()
    assert (row.status, row.deleted_at) == (SnapshotStatus.SUCCEEDED, None)
    assert backup.outcome == BackupOutcome.PARTIAL
    assert log_of(backup)[-1] == "snapshot_found_again"


def test_a_copy_elsewhere_that_is_there_again_is_told_of_its_record(world: World) -> None:
    backup = world.backup(copied(world))
    copies = Snapshot.objects.filter(backup=backup, collection="dr_volumes")
    assert copies.update(status=SnapshotStatus.DELETED, deleted_at=clock.now()) == 1
    Backup.objects.filter(pk=backup.pk).update(dr_status=CopyStatus.DELETED)
    take_stock(world)
    backup.refresh_from_db()
    assert copies.get().status == SnapshotStatus.SUCCEEDED
    assert (backup.outcome, backup.dr_status) == (BackupOutcome.SUCCEEDED, CopyStatus.PARTIAL)


def test_an_ami_that_records_share_is_gone_for_all_of_them(world: World) -> None:
    (instance_id,) = world.seed(instances=1, volumes_per=1)["instances"]
    policy = world.policy(instance_target(instance_id, backup_option="I"))
    records = [world.backup(policy), world.backup(policy)]
    (ami,) = set(
        Snapshot.objects.filter(collection="initial_amis").values_list("aws_ref", flat=True)
    )
    world.ec2().deregister_image(ImageId=ami)
    take_stock(world)
    for record in records:
        record.refresh_from_db()
        assert record.outcome == BackupOutcome.SUCCEEDED
        (row,) = record.snapshots.filter(collection="initial_amis")
        assert row.status == SnapshotStatus.DELETED
    assert Alert.objects.get(cause=vanished_cause(world)).message.startswith("2 are not")


def test_an_ami_that_its_owner_has_named_need_not_carry_our_tags(world: World) -> None:
    (instance_id,) = world.seed(instances=1, volumes_per=1)["instances"]
    own = world.ec2().create_image(InstanceId=instance_id, Name="golden")["ImageId"]
    target = instance_target(instance_id, backup_option="I", initial_ami=own)
    backup = world.backup(world.policy(target))
    take_stock(world)
    row = backup.snapshots.get(collection="initial_amis")
    assert (row.aws_ref, row.status) == (own, SnapshotStatus.SUCCEEDED)


@pytest.mark.parametrize(
    "fault",
    [
        {"op": SEE, "kind": "denied"},
        {"op": "ec2:DescribeImages", "kind": "denied"},
        {"op": SEE, "kind": "throttle"},
    ],
    ids=["no list", "no images", "throttled"],
)
def test_a_list_that_fails_marks_nothing(world: World, fault: dict[str, Any]) -> None:
    (instance_id,) = world.seed(instances=1, volumes_per=1)["instances"]
    target = instance_target(instance_id, backup_option="N")
    images = world.backup(world.policy(target))
    snapshots = world.backup(volumes(world))
    for image_id in refs_of(images):
        world.ec2().deregister_image(ImageId=image_id)
    for snapshot_id in refs_of(snapshots):
        world.ec2().delete_snapshot(SnapshotId=snapshot_id)
    world.simulator.faults([fault])
    take_stock(world)
    kind = "only_amis" if fault["op"].endswith("Images") else "volumes"
    rows = Snapshot.objects.filter(collection=kind)
    assert set(rows.values_list("status", flat=True)) == {SnapshotStatus.SUCCEEDED}
    told = cleanup_log("inventory_failed")
    assert {(each["account"], each["region"]) for each in told} == {(world.account.name, REGION)}
    world.simulator.faults([])
    take_stock(world)
    assert set(rows.values_list("status", flat=True)) == {SnapshotStatus.DELETED}


def test_a_type_that_may_not_be_listed_does_not_keep_others_from_it(world: World) -> None:
    (instance_id,) = world.seed(instances=1, volumes_per=1)["instances"]
    world.backup(world.policy(instance_target(instance_id, backup_option="N")))
    backup = world.backup(volumes(world))
    world.ec2().delete_snapshot(SnapshotId=refs_of(backup).pop())
    orphan = foreign(world, **{tags.SERVER_ID: identity.server_id()})
    world.simulator.faults([{"op": "ec2:DescribeImages", "kind": "denied"}])
    take_stock(world)
    assert backup.snapshots.get().status == SnapshotStatus.DELETED
    assert orphan in Alert.objects.get(cause=unknown_cause(world)).message
    assert [each["kinds"] for each in cleanup_log("inventory_failed")] == ["EC2 instances"]


def test_what_aws_does_not_list_is_not_therefore_gone(world: World) -> None:
    backup = world.backup(volumes(world))
    snapshot_id = refs_of(backup).pop()
    # Its owner has taken our tags away: it is not listed as ours.
    world.ec2().delete_tags(Resources=[snapshot_id], Tags=[{"Key": tags.SERVER_ID}])
    take_stock(world)
    assert backup.snapshots.get().status == SnapshotStatus.SUCCEEDED


def test_what_aws_does_not_list_yet_is_not_gone(world: World) -> None:
    policy = volumes(world)
    world.simulator.faults([{"op": "ec2:CreateSnapshot", "kind": "unlisted", "seconds": 3600}])
    backup = tick.run_now(policy)
    world.work()
    assert refs_of(backup) != {""}
    inventory.start()
    world.work()
    assert backup.snapshots.get().status == SnapshotStatus.IN_PROGRESS
    assert vanished_cause(world) not in open_alerts()
