"""EBS volumes: made, attached, listed, deleted as in AWS."""

from typing import TYPE_CHECKING, Any

import pytest

from cpm.simulator.process import Simulator
from tests.simulator.conftest import Later
from tests.simulator.expect import refused
from tests.simulator.resources import (
    ZONE,
    look,
    make_completed,
    make_snapshot,
    make_volume,
    run_instance,
    tagged,
    tags_of,
    volume_at,
)

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def test_a_volume_has_the_size_type_and_tags_asked_for(ec2: "EC2Client") -> None:
    volume_id = make_volume(
        ec2,
        100,
        VolumeType="gp3",
        Iops=4000,
        Throughput=250,
        TagSpecifications=tagged("volume", Name="data"),
    )
    seen = look(ec2, volume_id)
    assert (seen["Size"], seen["VolumeType"], seen["Iops"], seen["Throughput"]) == (
        100,
        "gp3",
        4000,
        250,
    )
    assert (seen["AvailabilityZone"], seen["State"]) == (ZONE, "available")
    assert tags_of(seen) == {"Name": "data"}


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"VolumeType": "io2"}, "InvalidParameterCombination"),
        ({"VolumeType": "gp2", "Iops": 3000}, "InvalidParameterCombination"),
        ({"VolumeType": "io1", "Iops": 100, "Throughput": 200}, "InvalidParameterCombination"),
        ({"VolumeType": "st1"}, "InvalidParameterValue"),
        ({"VolumeType": "floppy"}, "InvalidParameterValue"),
        ({"SnapshotId": "snap-0123456789abcdef0"}, "InvalidSnapshot.NotFound"),
        ({"AvailabilityZone": "us-east-1z"}, "InvalidZone.NotFound"),
        ({"AvailabilityZone": "eu-west-1a"}, "InvalidZone.NotFound"),
    ],
)
def test_a_volume_that_cannot_be_is_refused(
    ec2: "EC2Client", parameters: dict[str, Any], code: str
) -> None:
    with refused(code):
        ec2.create_volume(**{"AvailabilityZone": ZONE, "Size": 8, **parameters})
    assert not ec2.describe_volumes()["Volumes"]


def test_a_volume_without_size_and_snapshot_is_refused(ec2: "EC2Client") -> None:
    with refused("MissingParameter"):
        ec2.create_volume(AvailabilityZone=ZONE)


def test_a_volume_of_a_snapshot_is_at_least_as_big(ec2: "EC2Client") -> None:
    snapshot_id = make_completed(ec2, make_volume(ec2, 20))
    same = look(ec2, ec2.create_volume(AvailabilityZone=ZONE, SnapshotId=snapshot_id)["VolumeId"])
    assert (same["Size"], same["SnapshotId"]) == (20, snapshot_id)
    assert look(ec2, make_volume(ec2, 21, SnapshotId=snapshot_id))["Size"] == 21
    with refused("InvalidParameterValue") as seen:
        make_volume(ec2, 19, SnapshotId=snapshot_id)
    assert "expect size >= 20GB" in seen.message


def test_a_volume_is_made_of_completed_snapshots_only(
    simulator: Simulator, ec2: "EC2Client"
) -> None:
    volume_id = make_volume(ec2)
    simulator.config(pending=3600, fail=[volume_id])
    snapshot_id = make_snapshot(ec2, volume_id)
    with refused("IncorrectState") as seen:
        make_volume(ec2, 8, SnapshotId=snapshot_id)
    assert seen.message == "Snapshot is in invalid state - pending"
    simulator.finish(snapshot_id)
    with refused("IncorrectState") as seen:
        make_volume(ec2, 8, SnapshotId=snapshot_id)
    assert seen.message == "Snapshot is in invalid state - error"


def test_encryption_goes_from_volume_to_snapshot_to_volume(ec2: "EC2Client") -> None:
    volume_id = make_volume(ec2, Encrypted=True)
    key = look(ec2, volume_id)["KmsKeyId"]
    assert key.startswith("arn:aws:kms:us-east-1:")
    snapshot_id = make_completed(ec2, volume_id)
    snapshot = look(ec2, snapshot_id)
    assert (snapshot["Encrypted"], snapshot["KmsKeyId"]) == (True, key)
    restored = look(ec2, make_volume(ec2, SnapshotId=snapshot_id))
    assert (restored["Encrypted"], restored["KmsKeyId"]) == (True, key)


def test_the_same_client_token_gives_the_same_volume(ec2: "EC2Client") -> None:
    first = make_volume(ec2, ClientToken="once")
    assert make_volume(ec2, ClientToken="once") == first
    assert len(ec2.describe_volumes()["Volumes"]) == 1
    with refused("IdempotentParameterMismatch"):
        make_volume(ec2, 9, ClientToken="once")


def test_a_volume_is_creating_before_it_is_available(
    simulator: Simulator, ec2: "EC2Client", later: Later
) -> None:
    simulator.config(pending=36_000)
    volume_id = make_volume(ec2)
    assert look(ec2, volume_id)["State"] == "creating"
    later(3600)
    assert look(ec2, volume_id)["State"] == "available"


class TestAttaching:
    """AttachVolume, DetachVolume, DeleteVolume."""

    @pytest.fixture
    def instance_id(self, ec2: "EC2Client") -> str:
        found: str = run_instance(ec2)["InstanceId"]
        return found

    def test_an_attached_volume_is_seen_from_both_sides(
        self, ec2: "EC2Client", instance_id: str
    ) -> None:
        volume_id = make_volume(ec2)
        made = ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
        assert made["State"] == "attaching"
        seen = look(ec2, volume_id)
        assert seen["State"] == "in-use"
        assert seen["Attachments"][0]["InstanceId"] == instance_id
        assert seen["Attachments"][0]["Device"] == "/dev/sdf"
        assert volume_at(ec2, instance_id, "/dev/sdf")["VolumeId"] == volume_id

    def test_a_device_is_used_once(self, ec2: "EC2Client", instance_id: str) -> None:
        volume_id, other_id = make_volume(ec2), make_volume(ec2)
        ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
        with refused("InvalidParameterValue") as seen:
            ec2.attach_volume(VolumeId=other_id, InstanceId=instance_id, Device="/dev/sdf")
        assert "already in use" in seen.message

    def test_a_volume_is_attached_once(self, ec2: "EC2Client", instance_id: str) -> None:
        volume_id = make_volume(ec2)
        ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
        with refused("VolumeInUse"):
            ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdg")
        with refused("VolumeInUse"):
            ec2.delete_volume(VolumeId=volume_id)

    def test_volume_and_instance_are_in_one_zone(self, ec2: "EC2Client", instance_id: str) -> None:
        elsewhere = ec2.create_volume(AvailabilityZone="us-east-1b", Size=8)["VolumeId"]
        with refused("InvalidVolume.ZoneMismatch"):
            ec2.attach_volume(VolumeId=elsewhere, InstanceId=instance_id, Device="/dev/sdf")

    def test_a_detached_volume_can_be_deleted(self, ec2: "EC2Client", instance_id: str) -> None:
        volume_id = make_volume(ec2)
        ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
        ec2.detach_volume(VolumeId=volume_id)
        assert look(ec2, volume_id)["State"] == "available"
        with refused("IncorrectState"):
            ec2.detach_volume(VolumeId=volume_id)
        ec2.delete_volume(VolumeId=volume_id)
        with refused("InvalidVolume.NotFound"):
            look(ec2, volume_id)

    def test_a_running_instance_keeps_its_root_volume(
        self, ec2: "EC2Client", instance_id: str
    ) -> None:
        root = volume_at(ec2, instance_id, "/dev/xvda")["VolumeId"]
        with refused("OperationNotPermitted"):
            ec2.detach_volume(VolumeId=root)
        ec2.stop_instances(InstanceIds=[instance_id])
        ec2.detach_volume(VolumeId=root)
        assert look(ec2, instance_id)["BlockDeviceMappings"] == []

    def test_a_terminated_instance_takes_along_what_ends_with_it(
        self, ec2: "EC2Client", instance_id: str
    ) -> None:
        volume_id = make_volume(ec2)
        ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
        root = volume_at(ec2, instance_id, "/dev/xvda")["VolumeId"]
        ec2.terminate_instances(InstanceIds=[instance_id])
        with refused("InvalidVolume.NotFound"):
            look(ec2, root)
        assert look(ec2, volume_id)["State"] == "available"


class TestListing:
    """DescribeVolumes."""

    def test_pages_miss_nothing(self, ec2: "EC2Client") -> None:
        made = {make_volume(ec2) for _ in range(11)}
        pages = list(
            ec2.get_paginator("describe_volumes").paginate(PaginationConfig={"PageSize": 5})
        )
        assert [len(page["Volumes"]) for page in pages] == [5, 5, 1]
        assert {item["VolumeId"] for page in pages for item in page["Volumes"]} == made

    def test_unknown_ids_are_named(self, ec2: "EC2Client") -> None:
        unknown = ["vol-00000000000000001", "vol-00000000000000002"]
        with refused("InvalidVolume.NotFound") as seen:
            ec2.describe_volumes(VolumeIds=[make_volume(ec2), *unknown])
        assert seen.message == f"The volumes '{', '.join(unknown)}' do not exist."

    def test_filters_narrow_the_list(self, ec2: "EC2Client") -> None:
        instance_id = run_instance(ec2)["InstanceId"]
        loose = make_volume(ec2, 9, TagSpecifications=tagged("volume", Team="A"))

        def found(name: str, *values: str) -> list[str]:
            answer = ec2.describe_volumes(Filters=[{"Name": name, "Values": list(values)}])
            return [item["VolumeId"] for item in answer["Volumes"]]

        root = volume_at(ec2, instance_id, "/dev/xvda")["VolumeId"]
        assert found("attachment.instance-id", instance_id) == [root]
        assert found("attachment.device", "/dev/xvda") == [root]
        assert found("status", "available") == [loose]
        assert found("size", "9", "10") == [loose]
        assert found("tag:Team", "A") == [loose]
        assert set(found("availability-zone", ZONE)) == {root, loose}


def test_a_volume_grows_but_never_shrinks(ec2: "EC2Client") -> None:
    volume_id = make_volume(ec2)
    ec2.modify_volume(VolumeId=volume_id, Size=16, VolumeType="gp3")
    seen = look(ec2, volume_id)
    assert (seen["Size"], seen["VolumeType"]) == (16, "gp3")
    modified = ec2.describe_volumes_modifications(VolumeIds=[volume_id])
    assert modified["VolumesModifications"][0]["ModificationState"] == "completed"
    with refused("InvalidParameterValue"):
        ec2.modify_volume(VolumeId=volume_id, Size=8)
