"""Launches: what RunInstances refuses, and what the instances are that it starts."""

import base64
from typing import TYPE_CHECKING, Any

import pytest

from cpm.simulator.process import Simulator
from tests.simulator.conftest import Clients, Later
from tests.simulator.expect import refused
from tests.simulator.resources import (
    WINDOWS_IMAGE,
    ZONE,
    look,
    make_completed,
    make_volume,
    run_instance,
    volume_at,
)

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ROOT = "/dev/xvda"


@pytest.fixture
def subnet(ec2: "EC2Client") -> Any:
    """The default subnet of the first zone."""
    by_zone: list[Any] = [{"Name": "availabilityZone", "Values": [ZONE]}]
    return ec2.describe_subnets(Filters=by_zone)["Subnets"][0]


@pytest.fixture
def six(ec2: "EC2Client") -> str:
    """A subnet that has IPv6 addresses too."""
    vpc_id = ec2.create_vpc(CidrBlock="10.1.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"][
        "VpcId"
    ]
    vpc = ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"][0]
    block = vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].replace("/56", "/64")
    made = ec2.create_subnet(
        VpcId=vpc_id, CidrBlock="10.1.1.0/24", Ipv6CidrBlock=block, AvailabilityZone=ZONE
    )
    return str(made["Subnet"]["SubnetId"])


def launched(ec2: "EC2Client", *interfaces: dict[str, Any], **more: Any) -> Any:
    """Instances with these interfaces."""
    specified = [{"DeviceIndex": index, **each} for index, each in enumerate(interfaces)]
    wanted = {"MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", **more}
    image = {"ImageId": "ami-0abcdef1234567890"}
    return ec2.run_instances(**{**image, **wanted, "NetworkInterfaces": specified})["Instances"]


class TestDevices:
    """Which snapshots an AMI's devices may be of."""

    def test_the_root_is_of_the_amis_own_snapshot(self, ec2: "EC2Client") -> None:
        other = make_completed(ec2, make_volume(ec2, 20))
        device = {"DeviceName": ROOT, "Ebs": {"SnapshotId": other}}
        with refused("InvalidBlockDeviceMapping") as seen:
            run_instance(ec2, BlockDeviceMappings=[device])
        assert seen.message == "snapshotId cannot be modified on root device"

    def test_a_data_volume_may_be_of_another_that_is_not_smaller(self, ec2: "EC2Client") -> None:
        with_data = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 10}}
        instance_id = run_instance(ec2, BlockDeviceMappings=[with_data])["InstanceId"]
        image_id = ec2.create_image(InstanceId=instance_id, Name="both")["ImageId"]
        assert look(ec2, image_id)["State"] == "available"
        smaller, larger = (make_completed(ec2, make_volume(ec2, size)) for size in (9, 11))
        with refused("InvalidBlockDeviceMapping"):
            self._with_data(ec2, image_id, smaller)
        again = self._with_data(ec2, image_id, larger)
        assert volume_at(ec2, again, "/dev/sdf")["SnapshotId"] == larger

    def _with_data(self, ec2: "EC2Client", image_id: str, snapshot_id: str) -> str:
        device = {"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": snapshot_id}}
        made = run_instance(ec2, ImageId=image_id, BlockDeviceMappings=[device])
        return str(made["InstanceId"])


class TestWhatMustBeThere:
    """Keys, profiles, machines."""

    @pytest.mark.parametrize(
        ("asked", "code"),
        [
            ({"KeyName": "nobodys"}, "InvalidKeyPair.NotFound"),
            ({"IamInstanceProfile": {"Name": "nobodys"}}, "InvalidParameterValue"),
            ({"InstanceType": "t3.nonsense"}, "InvalidParameterValue"),
            ({"InstanceType": "m6g.large"}, "InvalidParameterValue"),
            ({"HibernationOptions": {"Configured": True}}, "UnsupportedHibernationConfiguration"),
            ({"ImageId": WINDOWS_IMAGE, "InstanceType": "t2.micro"}, "Unsupported"),
        ],
    )
    def test_what_is_not_there_or_does_not_fit_starts_nothing(
        self, ec2: "EC2Client", asked: dict[str, Any], code: str
    ) -> None:
        with refused(code):
            run_instance(ec2, **asked)
        assert not ec2.describe_instances()["Reservations"]

    def test_an_ami_without_ena_runs_on_older_machines_only(self, ec2: "EC2Client") -> None:
        device: Any = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": make_completed(ec2)}}
        image_id = ec2.register_image(
            Name="old",
            RootDeviceName="/dev/sda1",
            Architecture="x86_64",
            BlockDeviceMappings=[device],
        )["ImageId"]
        with refused("InvalidParameterCombination"):
            run_instance(ec2, ImageId=image_id)
        assert run_instance(ec2, ImageId=image_id, InstanceType="t2.micro")


class TestInterfaces:
    """Network interfaces."""

    def test_several_come_with_addresses_of_their_own(self, ec2: "EC2Client", subnet: Any) -> None:
        base = subnet["CidrBlock"].partition("/")[0].rpartition(".")[0]
        where = {"SubnetId": subnet["SubnetId"], "DeleteOnTermination": True}
        (made,) = launched(
            ec2, where, {**where, "PrivateIpAddress": f"{base}.99", "Description": "second"}
        )
        first, second = look(ec2, made["InstanceId"])["NetworkInterfaces"]
        assert first["PrivateIpAddress"] == made["PrivateIpAddress"] != f"{base}.99"
        assert second["PrivateIpAddress"] == f"{base}.99"
        assert (second["Description"], second["Attachment"]["DeviceIndex"]) == ("second", 1)
        with refused("InvalidIPAddress.InUse"):
            launched(ec2, where, {**where, "PrivateIpAddress": f"{base}.99"})
        ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
        assert launched(ec2, where, {**where, "PrivateIpAddress": f"{base}.99"})

    def test_what_does_not_go_together_is_refused(self, ec2: "EC2Client", subnet: Any) -> None:
        base = subnet["CidrBlock"].partition("/")[0].rpartition(".")[0]
        where = {"SubnetId": subnet["SubnetId"]}
        with refused("InvalidParameterCombination"):
            launched(ec2, {**where, "PrivateIpAddress": f"{base}.98"}, MaxCount=2)
        with refused("InvalidParameterCombination"):
            launched(ec2, {**where, "AssociatePublicIpAddress": True}, where)
        with refused("InvalidParameterCombination"):
            launched(ec2, where, SubnetId=subnet["SubnetId"])
        with refused("InvalidGroup.NotFound"):
            launched(ec2, {**where, "Groups": ["sg-0123456789abcdef0"]})
        with refused("AttachmentLimitExceeded"):
            launched(ec2, where, where, where)
        with refused("InvalidParameterValue"):
            launched(ec2, {**where, "Ipv6AddressCount": 1})

    def test_groups_are_those_of_the_first(self, ec2: "EC2Client", subnet: Any) -> None:
        group_id = ec2.create_security_group(
            GroupName="web", Description="web", VpcId=subnet["VpcId"]
        )["GroupId"]
        (made,) = launched(ec2, {"SubnetId": subnet["SubnetId"], "Groups": [group_id]})
        seen = look(ec2, made["InstanceId"])
        assert [group["GroupId"] for group in seen["SecurityGroups"]] == [group_id]

    @pytest.mark.parametrize("public", [True, False])
    def test_public_addresses_are_amazons(
        self, ec2: "EC2Client", subnet: Any, *, public: bool
    ) -> None:
        where = {"SubnetId": subnet["SubnetId"], "AssociatePublicIpAddress": public}
        (made,) = launched(ec2, where)
        (interface,) = look(ec2, made["InstanceId"])["NetworkInterfaces"]
        owner = interface.get("Association", {}).get("IpOwnerId")
        assert owner == ("amazon" if public else None)

    def test_ipv6_and_further_addresses_are_as_many_as_wanted(
        self, ec2: "EC2Client", six: str
    ) -> None:
        where = {"SubnetId": six, "Ipv6AddressCount": 2, "SecondaryPrivateIpAddressCount": 1}
        one, other = launched(ec2, where, MaxCount=2)
        seen = [look(ec2, each["InstanceId"])["NetworkInterfaces"][0] for each in (one, other)]
        six_addresses = {each["Ipv6Address"] for nic in seen for each in nic["Ipv6Addresses"]}
        four_addresses = {
            each["PrivateIpAddress"] for nic in seen for each in nic["PrivateIpAddresses"]
        }
        assert (len(six_addresses), len(four_addresses)) == (4, 4)

    def test_an_interface_ends_with_its_instance_unless_it_is_to_stay(
        self, ec2: "EC2Client", subnet: Any
    ) -> None:
        where = {"SubnetId": subnet["SubnetId"]}
        (made,) = launched(ec2, where, {**where, "DeleteOnTermination": False})
        ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
        (left,) = ec2.describe_network_interfaces()["NetworkInterfaces"]
        assert left["Status"] == "available"
        assert left["NetworkInterfaceId"] == made["NetworkInterfaces"][1]["NetworkInterfaceId"]


class TestChoices:
    """What an instance is asked to be, and what its AMI makes of it."""

    def test_an_instance_is_shown_as_it_was_asked_for(self, ec2: "EC2Client") -> None:
        asked: dict[str, Any] = {
            "InstanceType": "m5.large",
            "CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 1},
            "EnclaveOptions": {"Enabled": True},
            "MaintenanceOptions": {"AutoRecovery": "disabled"},
            "Placement": {"Tenancy": "dedicated", "AvailabilityZone": ZONE},
        }
        seen = look(ec2, run_instance(ec2, **asked)["InstanceId"])
        for name, value in asked.items():
            shown = seen[name]
            assert shown == value or shown.items() >= value.items()

    def test_an_ami_gives_its_traits_to_instances_and_copies(
        self, ec2: "EC2Client", client: Clients, account: Any
    ) -> None:
        instance_id = run_instance(ec2, ImageId=WINDOWS_IMAGE)["InstanceId"]
        image_id = ec2.create_image(InstanceId=instance_id, Name="mine")["ImageId"]
        assert look(ec2, image_id)["State"] == "available"
        west: EC2Client = client("ec2", account, "us-west-2")
        copy_id = west.copy_image(
            SourceImageId=image_id, SourceRegion="us-east-1", Name="mine", ClientToken="x"
        )["ImageId"]
        for seen in (look(ec2, instance_id), look(ec2, image_id), look(west, copy_id)):
            assert (seen["Platform"], seen["PlatformDetails"]) == ("windows", "Windows")
            assert (seen["BootMode"], seen["TpmSupport"], seen["EnaSupport"]) == (
                "uefi",
                "v2.0",
                True,
            )

    def test_an_ami_of_a_snapshot_is_what_it_is_said_to_be(self, ec2: "EC2Client") -> None:
        device: Any = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": make_completed(ec2)}}
        said: dict[str, Any] = {
            "BootMode": "uefi",
            "TpmSupport": "v2.0",
            "ImdsSupport": "v2.0",
            "EnaSupport": True,
            "SriovNetSupport": "simple",
        }
        chosen: dict[str, Any] = {"RootDeviceName": "/dev/sda1", "BlockDeviceMappings": [device]}
        image = look(ec2, ec2.register_image(Name="said", **chosen, **said)["ImageId"])
        assert said.items() <= image.items()
        assert image["UsageOperation"] == "RunInstances"
        with refused("InvalidParameterCombination"):
            ec2.register_image(Name="no uefi", **chosen, TpmSupport="v2.0")

    @pytest.mark.parametrize(
        ("kind", "asked", "shown"),
        [
            ("t3.micro", {}, "unlimited"),
            ("t2.micro", {}, "standard"),
            ("t3.micro", {"CreditSpecification": {"CpuCredits": "standard"}}, "standard"),
        ],
    )
    def test_cpu_credits_are_told(
        self, ec2: "EC2Client", kind: str, asked: dict[str, Any], shown: str
    ) -> None:
        instance_id = run_instance(ec2, InstanceType=kind, **asked)["InstanceId"]
        told = ec2.describe_instance_credit_specifications(InstanceIds=[instance_id])
        assert [each["CpuCredits"] for each in told["InstanceCreditSpecifications"]] == [shown]

    def test_where_metadata_is_guarded_by_the_ami_it_is_in_the_instance(
        self, ec2: "EC2Client"
    ) -> None:
        by_ami = look(ec2, run_instance(ec2)["InstanceId"])["MetadataOptions"]
        assert (by_ami["HttpTokens"], by_ami["HttpPutResponseHopLimit"]) == ("required", 2)
        chosen = run_instance(ec2, MetadataOptions={"HttpTokens": "optional"})["InstanceId"]
        assert look(ec2, chosen)["MetadataOptions"]["HttpTokens"] == "optional"


class TestAttributes:
    """ModifyInstanceAttribute."""

    def test_user_data_changes_only_while_it_is_stopped(self, ec2: "EC2Client") -> None:
        instance_id = run_instance(ec2)["InstanceId"]
        change: dict[str, Any] = {"InstanceId": instance_id, "UserData": {"Value": b"#!/bin/sh\n"}}
        with refused("IncorrectInstanceState"):
            ec2.modify_instance_attribute(**change)
        ec2.stop_instances(InstanceIds=[instance_id])
        ec2.modify_instance_attribute(**change)
        told = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
        assert base64.b64decode(told["UserData"]["Value"]) == b"#!/bin/sh\n"

    @pytest.mark.parametrize("name", ["DisableApiTermination", "DisableApiStop"])
    def test_protection_is_switched_on_and_off(self, ec2: "EC2Client", name: Any) -> None:
        instance_id = run_instance(ec2)["InstanceId"]
        order = ec2.stop_instances if name == "DisableApiStop" else ec2.terminate_instances
        on: dict[str, Any] = {name: {"Value": True}}
        ec2.modify_instance_attribute(InstanceId=instance_id, **on)
        told: Any = ec2.describe_instance_attribute(
            InstanceId=instance_id, Attribute=name[0].lower() + name[1:]
        )
        assert told[name]["Value"] is True
        with refused("OperationNotPermitted"):
            order(InstanceIds=[instance_id])
        off: dict[str, Any] = {name: {"Value": False}}
        ec2.modify_instance_attribute(InstanceId=instance_id, **off)
        order(InstanceIds=[instance_id])

    def test_one_attribute_changes_at_a_time(self, ec2: "EC2Client") -> None:
        instance_id = run_instance(ec2)["InstanceId"]
        with refused("InvalidParameterCombination"):
            ec2.modify_instance_attribute(
                InstanceId=instance_id,
                DisableApiStop={"Value": True},
                DisableApiTermination={"Value": True},
            )
        with refused("InvalidInstanceAttributeValue"):
            ec2.modify_instance_attribute(
                InstanceId=instance_id,
                BlockDeviceMappings=[{"DeviceName": "/dev/sdz", "Ebs": {}}],
            )

    def test_source_checks_are_changed_by_interface_where_there_are_several(
        self, ec2: "EC2Client", subnet: Any
    ) -> None:
        where = {"SubnetId": subnet["SubnetId"]}
        (made,) = launched(ec2, where, where)
        with refused("InvalidInstanceID"):
            ec2.modify_instance_attribute(
                InstanceId=made["InstanceId"], SourceDestCheck={"Value": False}
            )
        second = look(ec2, made["InstanceId"])["NetworkInterfaces"][1]["NetworkInterfaceId"]
        ec2.modify_network_interface_attribute(
            NetworkInterfaceId=second, SourceDestCheck={"Value": False}
        )
        seen = look(ec2, made["InstanceId"])["NetworkInterfaces"]
        assert [each["SourceDestCheck"] for each in seen] == [True, False]


class TestRoots:
    """The root volume goes and comes while the instance is stopped."""

    def test_a_root_is_changed_for_another(
        self, simulator: Simulator, ec2: "EC2Client", later: Later
    ) -> None:
        instance_id = run_instance(ec2)["InstanceId"]
        old = volume_at(ec2, instance_id, ROOT)["VolumeId"]
        with refused("OperationNotPermitted"):
            ec2.detach_volume(VolumeId=old)
        ec2.stop_instances(InstanceIds=[instance_id])
        simulator.config(pending=1000)
        new = make_volume(ec2, 9)
        later(200)
        assert ec2.detach_volume(VolumeId=old)["State"] == "detaching"
        assert look(ec2, old)["Attachments"][0]["State"] == "detaching"
        with refused("InvalidParameterValue"):
            ec2.attach_volume(VolumeId=new, InstanceId=instance_id, Device=ROOT)
        with refused("VolumeInUse"):
            ec2.delete_volume(VolumeId=old)
        later(200)
        assert look(ec2, old)["State"] == "available"
        ec2.attach_volume(VolumeId=new, InstanceId=instance_id, Device=ROOT)
        assert look(ec2, new)["Attachments"][0]["State"] == "attaching"
        later(200)
        assert look(ec2, new)["Attachments"][0]["State"] == "attached"
        ec2.start_instances(InstanceIds=[instance_id])
        assert volume_at(ec2, instance_id, ROOT)["VolumeId"] == new
        ec2.terminate_instances(InstanceIds=[instance_id])
        assert look(ec2, new)["State"] == "available"
