"""AMIs: made of instances and snapshots, copied, started, taken away as in AWS."""

from typing import TYPE_CHECKING, Any

import pytest

from cpm.simulator.process import Credentials, Simulator
from tests.simulator.conftest import Clients
from tests.simulator.expect import refused
from tests.simulator.resources import (
    look,
    make_completed,
    make_volume,
    run_instance,
    tagged,
    tags_of,
    volume_at,
)

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

TWO_DISKS: dict[str, Any] = {
    "BlockDeviceMappings": [
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 10}},
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 25, "VolumeType": "gp3"}},
    ]
}


@pytest.fixture
def instance_id(ec2: "EC2Client") -> str:
    """An instance with a root volume of 10 GiB and another of 25."""
    found: str = run_instance(ec2, **TWO_DISKS)["InstanceId"]
    return found


def sizes(image: Any) -> dict[str, int]:
    """The sizes of an image's devices."""
    return {item["DeviceName"]: item["Ebs"]["VolumeSize"] for item in image["BlockDeviceMappings"]}


def snapshots(image: Any) -> list[str]:
    """The ids of an image's snapshots."""
    return [
        item["Ebs"]["SnapshotId"]
        for item in image["BlockDeviceMappings"]
        if "SnapshotId" in item["Ebs"]
    ]


def make_image(ec2: "EC2Client", instance_id: str, name: str = "nightly", **more: Any) -> str:
    """An image of an instance; its id."""
    return ec2.create_image(InstanceId=instance_id, Name=name, NoReboot=True, **more)["ImageId"]


class TestOfInstances:
    """CreateImage."""

    def test_an_image_has_the_instances_real_mappings(
        self, ec2: "EC2Client", instance_id: str
    ) -> None:
        image = look(ec2, make_image(ec2, instance_id, Description="all"))
        assert image["State"] == "available"
        assert (image["RootDeviceName"], image["Description"]) == ("/dev/xvda", "all")
        assert sizes(image) == {"/dev/xvda": 10, "/dev/sdf": 25}
        for device, snapshot_id in zip(sizes(image), snapshots(image), strict=True):
            snapshot = look(ec2, snapshot_id)
            assert snapshot["VolumeId"] == volume_at(ec2, instance_id, device)["VolumeId"]
            assert image["ImageId"] in snapshot["Description"]

    def test_an_image_is_pending_until_its_snapshots_are_completed(
        self, simulator: Simulator, ec2: "EC2Client", instance_id: str
    ) -> None:
        simulator.config(pending=3600)
        image_id = make_image(ec2, instance_id)
        image = look(ec2, image_id)
        assert image["State"] == "pending"
        first, second = snapshots(image)
        simulator.finish(first)
        assert look(ec2, image_id)["State"] == "pending"
        simulator.finish(second)
        assert look(ec2, image_id)["State"] == "available"

    def test_an_image_fails_with_one_of_its_snapshots(
        self, simulator: Simulator, ec2: "EC2Client", instance_id: str
    ) -> None:
        simulator.config(fail=[volume_at(ec2, instance_id, "/dev/sdf")["VolumeId"]])
        assert look(ec2, make_image(ec2, instance_id))["State"] == "failed"

    def test_tags_go_on_image_and_snapshots(self, ec2: "EC2Client", instance_id: str) -> None:
        wanted = tagged("image", Name="ami") + tagged("snapshot", Name="part")
        image = look(ec2, make_image(ec2, instance_id, TagSpecifications=wanted))
        assert tags_of(image) == {"Name": "ami"}
        for snapshot_id in snapshots(image):
            assert tags_of(look(ec2, snapshot_id)) == {"Name": "part"}

    def test_devices_can_be_left_out_and_changed(self, ec2: "EC2Client", instance_id: str) -> None:
        image_id = make_image(
            ec2,
            instance_id,
            BlockDeviceMappings=[
                {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 40}},
                {"DeviceName": "/dev/sdf", "NoDevice": ""},
            ],
        )
        assert sizes(look(ec2, image_id)) == {"/dev/xvda": 40}

    def test_a_name_is_used_once(self, ec2: "EC2Client", instance_id: str) -> None:
        make_image(ec2, instance_id)
        with refused("InvalidAMIName.Duplicate"):
            make_image(ec2, instance_id)
        with refused("InvalidAMIName.Malformed"):
            make_image(ec2, instance_id, "ab")

    def test_an_instance_of_it_has_volumes_of_its_snapshots(
        self, ec2: "EC2Client", instance_id: str
    ) -> None:
        image = look(ec2, make_image(ec2, instance_id))
        again = run_instance(ec2, ImageId=image["ImageId"])["InstanceId"]
        for device, snapshot_id in zip(sizes(image), snapshots(image), strict=True):
            volume = volume_at(ec2, again, device)
            assert volume["SnapshotId"] == snapshot_id
            assert volume["Size"] == sizes(image)[device]

    def test_an_older_kind_of_volume_is_in_it_too(self, ec2: "EC2Client") -> None:
        old = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 10, "VolumeType": "gp2"}}
        instance_id = run_instance(ec2, BlockDeviceMappings=[old])["InstanceId"]
        image = look(ec2, make_image(ec2, instance_id))
        again = run_instance(ec2, ImageId=image["ImageId"])["InstanceId"]
        assert volume_at(ec2, again, "/dev/sdf")["VolumeType"] == "gp2"

    def test_a_pending_image_starts_nothing(
        self, simulator: Simulator, ec2: "EC2Client", instance_id: str
    ) -> None:
        simulator.config(pending=3600)
        image_id = make_image(ec2, instance_id)
        with refused("InvalidAMIID.Unavailable"):
            run_instance(ec2, ImageId=image_id)


class TestOfSnapshots:
    """RegisterImage."""

    def test_an_image_has_the_mappings_it_was_registered_with(self, ec2: "EC2Client") -> None:
        root, data = (make_completed(ec2, make_volume(ec2, size)) for size in (11, 22))
        image_id = ec2.register_image(
            Name="restored",
            RootDeviceName="/dev/sda1",
            Architecture="x86_64",
            VirtualizationType="hvm",
            EnaSupport=True,
            BlockDeviceMappings=[
                {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": root, "VolumeType": "gp3"}},
                {"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": data, "VolumeSize": 30}},
            ],
        )["ImageId"]
        image = look(ec2, image_id)
        assert image["State"] == "available"
        assert sizes(image) == {"/dev/sda1": 11, "/dev/sdf": 30}
        assert snapshots(image) == [root, data]
        instance_id = run_instance(ec2, ImageId=image_id)["InstanceId"]
        assert volume_at(ec2, instance_id, "/dev/sdf")["Size"] == 30
        assert look(ec2, instance_id)["RootDeviceName"] == "/dev/sda1"

    def test_an_image_without_a_root_is_refused(self, ec2: "EC2Client") -> None:
        device: Any = {"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": make_completed(ec2)}}
        with refused("InvalidBlockDeviceMapping"):
            ec2.register_image(
                Name="rootless", RootDeviceName="/dev/sda1", BlockDeviceMappings=[device]
            )


class TestGoing:
    """DeregisterImage."""

    def test_a_snapshot_of_an_image_stays_while_the_image_does(
        self, ec2: "EC2Client", instance_id: str
    ) -> None:
        image = look(ec2, make_image(ec2, instance_id))
        first = snapshots(image)[0]
        with refused("InvalidSnapshot.InUse") as seen:
            ec2.delete_snapshot(SnapshotId=first)
        assert image["ImageId"] in seen.message
        ec2.deregister_image(ImageId=image["ImageId"])
        assert [look(ec2, one)["State"] for one in snapshots(image)] == ["completed"] * 2
        ec2.delete_snapshot(SnapshotId=first)

    def test_a_deregistered_image_is_listed_no_more(
        self, ec2: "EC2Client", instance_id: str
    ) -> None:
        image_id = make_image(ec2, instance_id)
        ec2.deregister_image(ImageId=image_id)
        assert not ec2.describe_images(Owners=["self"])["Images"]
        assert not ec2.describe_images(ImageIds=[image_id])["Images"]
        with refused("InvalidAMIID.Unavailable"):
            ec2.deregister_image(ImageId=image_id)
        with refused("InvalidAMIID.NotFound"):
            ec2.describe_images(ImageIds=["ami-00000000000000000"])


class TestCopying:
    """CopyImage."""

    def test_a_copy_has_snapshots_of_its_own(
        self, ec2: "EC2Client", client: Clients, account: Credentials, instance_id: str
    ) -> None:
        source = look(ec2, make_image(ec2, instance_id))
        west: EC2Client = client("ec2", account, "us-west-2")
        wanted: dict[str, Any] = {
            "SourceImageId": source["ImageId"],
            "SourceRegion": "us-east-1",
            "Name": "copy",
            "ClientToken": "once",
            "TagSpecifications": tagged("snapshot", Name="copied"),
        }
        image_id = west.copy_image(**wanted)["ImageId"]
        assert west.copy_image(**wanted)["ImageId"] == image_id
        copy = look(west, image_id)
        assert copy["State"] == "available"
        assert sizes(copy) == sizes(source)
        assert not set(snapshots(copy)) & set(snapshots(source))
        for snapshot_id in snapshots(copy):
            assert tags_of(look(west, snapshot_id)) == {"Name": "copied"}

    def test_tags_of_the_image_are_copied_on_request(
        self, ec2: "EC2Client", client: Clients, account: Credentials, instance_id: str
    ) -> None:
        source = make_image(ec2, instance_id, TagSpecifications=tagged("image", Team="A"))
        west: EC2Client = client("ec2", account, "us-west-2")
        look(ec2, source)
        made = west.copy_image(
            SourceImageId=source, SourceRegion="us-east-1", Name="copy", CopyImageTags=True
        )
        assert tags_of(look(west, made["ImageId"])) == {"Team": "A"}


class TestListing:
    """DescribeImages."""

    def test_pages_miss_nothing(self, ec2: "EC2Client", instance_id: str) -> None:
        made = {make_image(ec2, instance_id, f"image-{n}") for n in range(6)}
        pages = list(
            ec2.get_paginator("describe_images").paginate(
                Owners=["self"], PaginationConfig={"PageSize": 5}
            )
        )
        assert [len(page["Images"]) for page in pages] == [5, 1]
        assert {item["ImageId"] for page in pages for item in page["Images"]} == made

    def test_filters_narrow_the_list(self, ec2: "EC2Client", instance_id: str) -> None:
        make_image(ec2, instance_id, "other")
        wanted = make_image(ec2, instance_id, TagSpecifications=tagged("image", Team="A"))
        snapshot_id = snapshots(look(ec2, wanted))[0]
        for name, value in (
            ("name", "night*"),
            ("tag:Team", "A"),
            ("image-id", wanted),
            ("block-device-mapping.snapshot-id", snapshot_id),
        ):
            found = ec2.describe_images(
                Owners=["self"], Filters=[{"Name": name, "Values": [value]}]
            )
            assert [image["ImageId"] for image in found["Images"]] == [wanted]
