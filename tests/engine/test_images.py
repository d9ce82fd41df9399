"""AMIs of instances: made by backups, shared and rotated, and taken away with all their parts."""

from datetime import timedelta
from typing import Any

import pytest

from cpm.engine import deletions
from cpm.engine.deleted import live_snapshots
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupOutcome
from cpm.models.settings import Setting
from cpm.models.snapshots import Snapshot, SnapshotStatus
from tests.engine.world import World, at_once, instance_target, name_volumes, open_alerts


def instance(world: World, volumes: int = 2) -> str:
    """An instance with that many volumes."""
    (instance_id,) = world.seed(instances=1, volumes_per=volumes)["instances"]
    return str(instance_id)


def images_in_aws(world: World) -> dict[str, set[str]]:
    """The account's AMIs, with the snapshots behind each."""
    found: list[dict[str, Any]] = world.ec2().describe_images(Owners=["self"])["Images"]
    return {
        image["ImageId"]: {each["Ebs"]["SnapshotId"] for each in image["BlockDeviceMappings"]}
        for image in found
    }


def images_of(backup: Backup) -> list[Snapshot]:
    """The rows of the AMIs that a record has made."""
    return list(backup.snapshots.filter(kind="ec2_instance").order_by("pk"))


class TestAmiOnly:
    """An AMI in each backup."""

    @pytest.mark.parametrize("option", ["A", "N"])
    def test_a_backup_is_one_ami_that_knows_its_snapshots(self, world: World, option: str) -> None:
        target = instance_target(instance(world), backup_option=option)
        backup = world.backup(world.policy(target))
        assert backup.outcome == BackupOutcome.SUCCEEDED
        (row,) = backup.snapshots.all()
        assert (row.collection, row.status) == ("only_amis", SnapshotStatus.SUCCEEDED)
        assert images_in_aws(world) == {row.aws_ref: set(row.facts["snapshots"].values())}

    def test_a_lost_answer_makes_no_second_ami(self, world: World) -> None:
        world.simulator.faults([{"op": "ec2:CreateImage", "kind": "lost", "times": 1}])
        target = instance_target(instance(world), backup_option="N")
        backup = world.backup(world.policy(target))
        assert backup.outcome == BackupOutcome.SUCCEEDED
        assert set(images_in_aws(world)) == {row.aws_ref for row in images_of(backup)}

    def test_an_ami_that_aws_cannot_make_fails_and_goes_with_its_record(self, world: World) -> None:
        instance_id = instance(world)
        world.simulator.config(fail=[instance_id])
        backup = world.backup(world.policy(instance_target(instance_id, backup_option="A")))
        assert backup.outcome == BackupOutcome.FAILED
        assert deletions.request(deletions.of_backup(backup)) == 1
        world.drain()
        assert images_in_aws(world) == {}
        assert world.snapshots_in_aws() == []

    def test_generations_take_amis_and_their_snapshots_away(self, world: World) -> None:
        target = instance_target(instance(world), backup_option="N")
        policy = world.policy(target, generations=1)
        first, second = world.backup(policy), world.backup(policy)
        world.drain()
        first.refresh_from_db()
        assert first.outcome == BackupOutcome.DELETED
        (row,) = images_of(second)
        assert images_in_aws(world) == {row.aws_ref: set(row.facts["snapshots"].values())}
        kept = {snapshot["SnapshotId"] for snapshot in world.snapshots_in_aws()}
        assert kept == set(row.facts["snapshots"].values())

    def test_what_another_ami_needs_is_refused_and_told(self, world: World) -> None:
        target = instance_target(instance(world), backup_option="N")
        backup = world.backup(world.policy(target))
        (row,) = images_of(backup)
        root = row.facts["snapshots"]["/dev/xvda"]
        world.ec2().register_image(
            Name="theirs",
            RootDeviceName="/dev/xvda",
            BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": root}}],
        )
        deletions.request(deletions.of_backup(backup))
        world.drain()
        row.refresh_from_db()
        assert row.status == SnapshotStatus.SUCCEEDED
        assert open_alerts() == {f"deletions:account:{world.account.pk}"}

    def test_a_target_without_its_root_volume_says_why_there_is_no_ami(self, world: World) -> None:
        instance_id = instance(world)
        target = instance_target(instance_id, backup_option="A", volumes_mode="I")
        policy = world.policy(target)
        described = world.ec2().describe_instances(InstanceIds=[instance_id])
        (found,) = described["Reservations"][0]["Instances"]
        data = [
            each["Ebs"]["VolumeId"]
            for each in found["BlockDeviceMappings"]
            if each["DeviceName"] != found["RootDeviceName"]
        ]
        name_volumes(target, data)
        backup = world.backup(policy)
        assert backup.outcome == BackupOutcome.FAILED
        assert "root volume" in backup.targets.get().error


class TestInitialAmi:
    """Snapshots, and one AMI that all records of the instance share."""

    def test_the_first_backup_makes_it_and_later_ones_refer_to_it(self, world: World) -> None:
        policy = world.policy(instance_target(instance(world), backup_option="I"))
        first, second = world.backup(policy), world.backup(policy)
        for backup in (first, second):
            assert backup.outcome == BackupOutcome.SUCCEEDED
            assert backup.snapshots.filter(collection="volumes").count() == 2
        (made,), (referred,) = images_of(first), images_of(second)
        assert (made.collection, referred.collection) == ("initial_amis", "initial_amis")
        assert made.aws_ref == referred.aws_ref
        assert referred.status == SnapshotStatus.SUCCEEDED
        assert set(images_in_aws(world)) == {made.aws_ref}

    def test_it_outlives_the_record_that_made_it_and_goes_with_the_last(self, world: World) -> None:
        target = instance_target(instance(world), backup_option="I")
        policy = world.policy(target, generations=1)
        first, second = world.backup(policy), world.backup(policy)
        world.drain()
        first.refresh_from_db()
        assert first.outcome == BackupOutcome.DELETED
        (gone,), (kept,) = images_of(first), images_of(second)
        assert gone.status == SnapshotStatus.DELETED
        assert set(images_in_aws(world)) == {kept.aws_ref}
        deletions.request(deletions.of_policy(policy))
        world.drain()
        assert images_in_aws(world) == {}
        assert world.snapshots_in_aws() == []

    def test_a_record_is_deleted_whatever_it_still_shares(self, world: World) -> None:
        policy = world.policy(instance_target(instance(world), backup_option="I"))
        backup = world.backup(policy)
        volumes = live_snapshots().filter(backup=backup, collection="volumes")
        deletions.request(deletions.choose(volumes))
        world.drain()
        backup.refresh_from_db()
        assert backup.outcome == BackupOutcome.DELETED
        assert len(images_in_aws(world)) == 1

    def test_when_somebody_has_taken_it_away_another_is_made(self, world: World) -> None:
        policy = world.policy(instance_target(instance(world), backup_option="I"))
        (lost,) = images_of(world.backup(policy))
        world.ec2().deregister_image(ImageId=lost.aws_ref)
        (made,) = images_of(world.backup(policy))
        assert set(images_in_aws(world)) == {made.aws_ref} != {lost.aws_ref}

    def test_after_its_time_another_is_made_and_the_old_one_goes_when_unneeded(
        self, world: World
    ) -> None:
        target = instance_target(instance(world), backup_option="I")
        policy = world.policy(target, generations=1)
        (old,) = images_of(world.backup(policy))
        world.move_to(clock.now() + timedelta(days=31))
        (new,) = images_of(world.backup(policy))
        assert new.aws_ref != old.aws_ref
        world.drain()
        assert set(images_in_aws(world)) == {new.aws_ref}

    def test_the_setting_says_when_it_is_replaced(self, world: World) -> None:
        Setting.objects.create(section="cleanup", value={"rotate_single_amis_days": 2})
        policy = world.policy(instance_target(instance(world), backup_option="I"))
        (old,) = images_of(world.backup(policy))
        world.move_to(clock.now() + timedelta(days=1))
        assert [row.aws_ref for row in images_of(world.backup(policy))] == [old.aws_ref]
        world.move_to(clock.now() + timedelta(days=1, hours=1))
        assert [row.aws_ref for row in images_of(world.backup(policy))] != [old.aws_ref]

    def test_policies_of_one_instance_share_it(self, world: World) -> None:
        instance_id = instance(world)
        policies = [world.policy(instance_target(instance_id, backup_option="I")) for _ in range(2)]
        refs = {row.aws_ref for policy in policies for row in images_of(world.backup(policy))}
        assert set(images_in_aws(world)) == refs
        assert len(refs) == 1

    def test_an_ami_that_its_owner_names_is_used_and_never_deleted(self, world: World) -> None:
        instance_id = instance(world)
        own = world.ec2().create_image(InstanceId=instance_id, Name="golden")["ImageId"]
        target = instance_target(instance_id, backup_option="I", initial_ami=own)
        backup = world.backup(world.policy(target))
        assert [row.aws_ref for row in images_of(backup)] == [own]
        deletions.request(deletions.of_backup(backup))
        world.drain()
        assert set(images_in_aws(world)) == {own}
        assert images_of(backup)[0].status == SnapshotStatus.DELETED

    def test_a_named_ami_that_is_gone_is_told_and_the_volumes_are_safe(self, world: World) -> None:
        absent = "ami-0123456789abcdef0"
        target = instance_target(instance(world), backup_option="I", initial_ami=absent)
        backup = world.backup(world.policy(target))
        assert backup.outcome == BackupOutcome.PARTIAL
        assert absent in backup.targets.get().error
        assert backup.snapshots.filter(status=SnapshotStatus.SUCCEEDED).count() == 2

    def test_of_two_last_records_that_go_at_once_one_takes_it_along(self, world: World) -> None:
        policy = world.policy(instance_target(instance(world), backup_option="I"))
        records = [world.backup(policy), world.backup(policy)]
        waiting = iter(records)
        at_once(2, lambda: deletions.request(deletions.of_backup(next(waiting))))
        world.drain()
        assert images_in_aws(world) == {}

    def test_one_alone_cannot_be_deleted_while_others_need_it(self, world: World) -> None:
        policy = world.policy(instance_target(instance(world), backup_option="I"))
        (first,), (second,) = images_of(world.backup(policy)), images_of(world.backup(policy))
        with pytest.raises(deletions.Shared):
            deletions.claim(first)
        first.refresh_from_db()
        assert first.delete_requested_at is None
        assert set(images_in_aws(world)) == {second.aws_ref}
