"""Instances: started with the right volumes, listed in pages, stopped and ended as in AWS."""

from typing import TYPE_CHECKING, Any

import pytest

from cpm.simulator.process import Credentials, Simulator
from tests.simulator.conftest import Later
from tests.simulator.expect import refused
from tests.simulator.resources import (
    ARM_IMAGE,
    BASE_IMAGE,
    WINDOWS_IMAGE,
    ZONE,
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


class TestLaunching:
    """RunInstances."""

    def test_volumes_are_made_of_the_snapshots_named(self, ec2: "EC2Client") -> None:
        snapshot_id = make_completed(ec2, make_volume(ec2, 30))
        made = run_instance(
            ec2,
            BlockDeviceMappings=[
                {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 12}},
                {"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": snapshot_id}},
                {
                    "DeviceName": "/dev/sdg",
                    "Ebs": {"VolumeSize": 50, "VolumeType": "io2", "Iops": 500},
                },
            ],
        )
        instance_id = made["InstanceId"]
        assert made["State"]["Name"] == "pending"
        assert volume_at(ec2, instance_id, "/dev/xvda")["Size"] == 12
        restored = volume_at(ec2, instance_id, "/dev/sdf")
        assert (restored["Size"], restored["SnapshotId"]) == (30, snapshot_id)
        fast = volume_at(ec2, instance_id, "/dev/sdg")
        assert (fast["Size"], fast["VolumeType"], fast["Iops"]) == (50, "io2", 500)

    def test_a_volume_smaller_than_its_snapshot_starts_nothing(self, ec2: "EC2Client") -> None:
        snapshot_id = make_completed(ec2, make_volume(ec2, 30))
        device = {"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": snapshot_id, "VolumeSize": 29}}
        with refused("InvalidBlockDeviceMapping"):
            run_instance(ec2, BlockDeviceMappings=[device])
        assert not ec2.describe_instances()["Reservations"]

    def test_tags_go_on_instances_and_volumes(self, ec2: "EC2Client") -> None:
        wanted = tagged("instance", Name="web") + tagged("volume", Name="disk")
        instance_id = run_instance(ec2, TagSpecifications=wanted)["InstanceId"]
        assert tags_of(look(ec2, instance_id)) == {"Name": "web"}
        assert tags_of(volume_at(ec2, instance_id, "/dev/xvda")) == {"Name": "disk"}

    def test_a_private_address_is_given_once(self, ec2: "EC2Client") -> None:
        subnet = ec2.describe_subnets(Filters=[{"Name": "availabilityZone", "Values": [ZONE]}])[
            "Subnets"
        ][0]
        address = subnet["CidrBlock"].split("/")[0].rpartition(".")[0] + ".77"
        chosen: dict[str, Any] = {"SubnetId": subnet["SubnetId"], "PrivateIpAddress": address}
        made = run_instance(ec2, **chosen)
        assert made["PrivateIpAddress"] == address
        assert made["SubnetId"] == subnet["SubnetId"]
        with refused("InvalidIPAddress.InUse"):
            run_instance(ec2, **chosen)
        for outside in ("8.8.8.8", address.rpartition(".")[0] + ".3"):
            with refused("InvalidParameterValue"):
                run_instance(ec2, **{**chosen, "PrivateIpAddress": outside})
        ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
        assert run_instance(ec2, **chosen)["PrivateIpAddress"] == address

    def test_the_same_client_token_gives_the_same_instance(self, ec2: "EC2Client") -> None:
        first = run_instance(ec2, ClientToken="once")["InstanceId"]
        assert run_instance(ec2, ClientToken="once")["InstanceId"] == first
        assert len(ec2.describe_volumes()["Volumes"]) == 1
        with refused("IdempotentParameterMismatch"):
            run_instance(ec2, ClientToken="once", InstanceType="t3.large")

    def test_an_unknown_image_is_refused(self, ec2: "EC2Client") -> None:
        with refused("InvalidAMIID.NotFound"):
            run_instance(ec2, ImageId="ami-00000000000000000")

    def test_an_instance_has_a_network_of_its_own(self, ec2: "EC2Client") -> None:
        made = run_instance(ec2)
        assert made["Placement"]["AvailabilityZone"] == ZONE
        assert [group["GroupName"] for group in made["SecurityGroups"]] == ["default"]
        interface = made["NetworkInterfaces"][0]
        assert interface["PrivateIpAddress"] == made["PrivateIpAddress"]
        assert interface["SubnetId"] == made["SubnetId"]


class TestStates:
    """StartInstances, StopInstances, TerminateInstances."""

    def test_orders_answer_the_state_on_the_way(self, ec2: "EC2Client") -> None:
        instance_id = run_instance(ec2)["InstanceId"]
        stopping = ec2.stop_instances(InstanceIds=[instance_id])["StoppingInstances"][0]
        assert stopping["PreviousState"]["Name"] == "running"
        assert stopping["CurrentState"]["Name"] == "stopping"
        assert look(ec2, instance_id)["State"]["Name"] == "stopped"
        starting = ec2.start_instances(InstanceIds=[instance_id])["StartingInstances"][0]
        assert starting["CurrentState"]["Name"] == "pending"
        assert look(ec2, instance_id)["State"]["Name"] == "running"
        ending = ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"][0]
        assert ending["CurrentState"]["Name"] == "shutting-down"
        assert look(ec2, instance_id)["State"]["Name"] == "terminated"

    def test_the_state_on_the_way_lasts_a_while(
        self, simulator: Simulator, ec2: "EC2Client", later: Later
    ) -> None:
        simulator.config(pending=36_000)
        instance_id = run_instance(ec2)["InstanceId"]
        assert look(ec2, instance_id)["State"]["Name"] == "pending"
        with refused("IncorrectInstanceState"):
            ec2.stop_instances(InstanceIds=[instance_id])
        later(3600)
        assert look(ec2, instance_id)["State"]["Name"] == "running"

    def test_a_protected_instance_is_not_terminated(self, ec2: "EC2Client") -> None:
        instance_id = run_instance(ec2, DisableApiTermination=True)["InstanceId"]
        with refused("OperationNotPermitted"):
            ec2.terminate_instances(InstanceIds=[instance_id])


class TestListing:
    """DescribeInstances."""

    def test_pages_count_instances_and_miss_none(
        self, simulator: Simulator, ec2: "EC2Client", account: Credentials
    ) -> None:
        planted = simulator.seed(account=account.account, instances=12)
        pages = list(
            ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5})
        )
        seen = [
            [item["InstanceId"] for one in page["Reservations"] for item in one["Instances"]]
            for page in pages
        ]
        assert [len(page) for page in seen] == [5, 5, 2]
        assert {one for page in seen for one in page} == set(planted["instances"])

    def test_ids_and_pages_exclude_each_other(self, ec2: "EC2Client") -> None:
        instance_id = run_instance(ec2)["InstanceId"]
        with refused("InvalidParameterCombination"):
            ec2.describe_instances(InstanceIds=[instance_id], MaxResults=5)

    def test_unknown_ids_are_named(self, ec2: "EC2Client") -> None:
        with refused("InvalidInstanceID.NotFound") as seen:
            ec2.describe_instances(InstanceIds=["i-0123456789abcdef0"])
        assert seen.message == "The instance ID 'i-0123456789abcdef0' does not exist"
        with refused("InvalidInstanceID.Malformed"):
            ec2.describe_instances(InstanceIds=["server"])

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("instance-state-name", "stopped"),
            ("tag:Name", "we?"),
            ("tag-key", "Name"),
            ("instance-type", "t3.large"),
        ],
    )
    def test_filters_narrow_the_list(self, ec2: "EC2Client", name: str, value: str) -> None:
        run_instance(ec2)
        wanted = run_instance(
            ec2, InstanceType="t3.large", TagSpecifications=tagged("instance", Name="web")
        )["InstanceId"]
        ec2.stop_instances(InstanceIds=[wanted])
        found = ec2.describe_instances(Filters=[{"Name": name, "Values": [value]}])
        instances = [item for one in found["Reservations"] for item in one["Instances"]]
        assert [item["InstanceId"] for item in instances] == [wanted]


def test_whether_a_volume_ends_with_its_instance_can_be_changed(ec2: "EC2Client") -> None:
    instance_id = run_instance(ec2)["InstanceId"]
    root = volume_at(ec2, instance_id, "/dev/xvda")["VolumeId"]
    ec2.modify_instance_attribute(
        InstanceId=instance_id,
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"DeleteOnTermination": False}}],
    )
    ec2.terminate_instances(InstanceIds=[instance_id])
    assert look(ec2, root)["State"] == "available"


class TestTags:
    """CreateTags, DeleteTags, DescribeTags."""

    def test_tags_are_put_listed_in_pages_and_taken_away(self, ec2: "EC2Client") -> None:
        volumes = [make_volume(ec2) for _ in range(6)]
        ec2.create_tags(Resources=volumes, Tags=[{"Key": "Team", "Value": "A"}])
        pages = list(
            ec2.get_paginator("describe_tags").paginate(
                Filters=[{"Name": "key", "Values": ["Team"]}], PaginationConfig={"PageSize": 5}
            )
        )
        assert [len(page["Tags"]) for page in pages] == [5, 1]
        assert {tag["ResourceId"] for page in pages for tag in page["Tags"]} == set(volumes)
        assert pages[0]["Tags"][0]["ResourceType"] == "volume"
        ec2.delete_tags(Resources=volumes[:1], Tags=[{"Key": "Team"}])
        assert tags_of(look(ec2, volumes[0])) == {}

    def test_a_missing_resource_lets_no_resource_be_tagged(self, ec2: "EC2Client") -> None:
        volume_id = make_volume(ec2)
        with refused("InvalidVolume.NotFound"):
            ec2.create_tags(
                Resources=[volume_id, "vol-00000000000000000"], Tags=[{"Key": "a", "Value": "b"}]
            )
        assert tags_of(look(ec2, volume_id)) == {}

    def test_awss_own_keys_are_refused(self, ec2: "EC2Client") -> None:
        with refused("InvalidParameterValue"):
            ec2.create_tags(Resources=[make_volume(ec2)], Tags=[{"Key": "aws:x", "Value": "y"}])


def test_the_base_images_are_amazons_and_public(ec2: "EC2Client") -> None:
    found = {image["ImageId"]: image for image in ec2.describe_images(Owners=["amazon"])["Images"]}
    assert set(found) == {BASE_IMAGE, ARM_IMAGE, WINDOWS_IMAGE}
    assert found[BASE_IMAGE]["Architecture"] == "x86_64"
    assert found[ARM_IMAGE]["Architecture"] == "arm64"
    assert all(image["Public"] for image in found.values())
    windows = found[WINDOWS_IMAGE]
    assert (windows["Platform"], windows["PlatformDetails"]) == ("windows", "Windows")
