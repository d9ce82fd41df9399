"""AMIs of instances: made by backups, shared and rotated, and taken away with all their parts."""

from typing import Any

import pytest

from cpm.engine import deletions
from cpm.models.backups import Backup, BackupOutcome
from cpm.models.snapshots import Snapshot, SnapshotStatus
from tests.engine.world import World, instance_target, name_volumes, open_alerts


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
