"""What the driver suite has to know of EC2 instances, for each way in which they are protected."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from cpm.aws import tags
from cpm.resources.contract import Json, Refs, Resource
from cpm.testing.stage import REGION, RecoveryCase, Rig, Stage
from tests.contract.ec2 import (
    KEY,
    RED,
    ZONE,
    attribute_of,
    behind_image,
    describe,
    images_with,
    instance_of,
    lose_image,
    lose_snapshot,
    nothing,
    remains,
    seed,
    snapshots_with,
    tags_of,
    volume_of,
)
from tests.contract.ec2_copies import IMAGE_COPIES, image_shared_with, images_at


def plant_instance(stage: Stage) -> str:
    """An instance with three volumes."""
    (instance_id,) = seed(stage, instances=1, volumes_per=3)["instances"]
    return str(instance_id)


def _profile(stage: Stage) -> None:
    """Profile `web`, of role `web-role`."""
    stage.hand.call("iam", "CreateInstanceProfile", InstanceProfileName="web")
    stage.hand.call("iam", "CreateRole", RoleName="web-role", AssumeRolePolicyDocument="{}")
    stage.hand.call(
        "iam", "AddRoleToInstanceProfile", InstanceProfileName="web", RoleName="web-role"
    )


def special_instances(stage: Stage) -> list[tuple[str, Json]]:
    """One with more tags than can be copied, one with more volumes than can be left out."""
    tagged = seed(stage, instances=1, volumes_per=1)
    (crowded,) = tagged["instances"]
    many = {f"key-{number:02}": "value" for number in range(47)}
    stage.hand.call(
        "ec2", "CreateTags", Resources=tagged["volumes"][crowded], Tags=tags.to_aws(many)
    )
    big = seed(stage, instances=1, volumes_per=1)
    (broad,) = big["instances"]
    for number in range(41):
        volume_id = stage.hand.call(
            "ec2", "CreateVolume", AvailabilityZone=ZONE, Size=1, VolumeType="gp3"
        )["VolumeId"]
        device = f"/dev/sd{chr(ord('f') + number // 20)}{number % 20 + 1}"
        stage.hand.call("ec2", "AttachVolume", InstanceId=broad, VolumeId=volume_id, Device=device)
    only_root = {"volumes_mode": "I", "volumes": big["volumes"][broad]}
    return [(str(crowded), {}), (str(broad), only_root)]


def _with_agents(stage: Stage) -> list[tuple[str, Json]]:
    """One with scripts around its snapshots, one around its AMI, one with VSS as well."""
    snapped, imaged = seed(stage, instances=2)["instances"]
    windows = seed(stage, instances=1, volumes_per=3, platform="windows")
    (vss,) = windows["instances"]
    stage.simulator.agents(stage.account_number)
    scripts = {"agent_enabled": True, "scripts_enabled": True}
    without_one = {"volumes_mode": "E", "volumes": windows["volumes"][vss][1:2]}
    return [
        (str(snapped), scripts),
        (str(imaged), {**scripts, "backup_option": "N"}),
        (str(vss), {**scripts, **without_one, "vss_enabled": True}),
    ]


def _check_instance(stage: Stage, original: Resource, made: Mapping[str, Refs]) -> None:
    instance = instance_of(stage, made["run"]["instance"])
    assert instance["State"]["Name"] == "running"
    assert instance["InstanceType"] == original.facts["instance_type"]
    assert instance["SubnetId"] == original.facts["subnet_id"]
    carried = tags.from_aws(instance["Tags"])
    assert dict(original.tags).items() <= carried.items()
    assert carried[tags.BACKUP_ID] == "7"
    by_device = {
        mapping["DeviceName"]: volume_of(stage, mapping["Ebs"]["VolumeId"])
        for mapping in instance["BlockDeviceMappings"]
    }
    assert {
        volume["device"]: (volume["size_gib"], volume["volume_type"], volume["tags"]["Name"])
        for volume in original.facts["volumes"]
    } == {
        device: (volume["Size"], volume["VolumeType"], tags.from_aws(volume["Tags"])["Name"])
        for device, volume in by_device.items()
    }
    images = stage.hand.call("ec2", "DescribeImages", Owners=["self"])["Images"]
    assert all(image.get("SourceInstanceId") for image in images)


def _free_address(stage: Stage, subnet: Json) -> str:
    interfaces = stage.hand.call("ec2", "DescribeNetworkInterfaces")["NetworkInterfaces"]
    return str(ip_network(subnet["CidrBlock"])[100 + len(interfaces)])


def _all_options(stage: Stage, original: Resource) -> Json:
    hand = stage.hand
    subnet = hand.call(
        "ec2",
        "DescribeSubnets",
        Filters=[{"Name": "availability-zone", "Values": [f"{REGION}b"]}],
    )["Subnets"][0]
    group = hand.call(
        "ec2",
        "CreateSecurityGroup",
        GroupName=f"web-{len(stage.aws.calls)}",
        Description="web",
        VpcId=subnet["VpcId"],
    )["GroupId"]
    names = [key["KeyName"] for key in hand.call("ec2", "DescribeKeyPairs")["KeyPairs"]]
    if "ops" not in names:
        hand.call("ec2", "CreateKeyPair", KeyName="ops")
        _profile(stage)
    return {
        "instance_type": "t3.large",
        "key_pair": "ops",
        "subnet": subnet["SubnetId"],
        "vpc_assign_ip": _free_address(stage, subnet),
        "security_groups": [group],
        "iam_role": "web-role",
        "user_data": "#!/bin/sh\n",
        "shutdown_behavior": "terminate",
        "monitoring": True,
        "block_devices": [
            {
                "device": original.facts["volumes"][-1]["device"],
                "volume_type": "io2",
                "size_gib": 50,
                "iops": 500,
                "encrypted": True,
                "kms_key": KEY,
                "delete_on_termination": True,
            }
        ],
        "additional_tags": {"who": "me"},
        "start": False,
    }


def _check_all_options(stage: Stage, original: Resource, made: Mapping[str, Refs]) -> None:
    instance = instance_of(stage, made["run"]["instance"])
    assert instance["State"]["Name"] == "stopped"
    assert instance["InstanceType"] == "t3.large"
    assert instance["KeyName"] == "ops"
    assert instance["Placement"]["AvailabilityZone"] == f"{REGION}b"
    assert int(instance["PrivateIpAddress"].split(".")[-1]) > 100
    assert instance["IamInstanceProfile"]["Arn"].endswith("/web")
    assert instance["Monitoring"]["State"] == "enabled"
    attached = {
        mapping["DeviceName"]: mapping["Ebs"]["VolumeId"]
        for mapping in instance["BlockDeviceMappings"]
    }
    changed = volume_of(stage, attached[original.facts["volumes"][-1]["device"]])
    assert (changed["VolumeType"], changed["Size"], changed["Iops"]) == ("io2", 50, 500)
    assert changed["KmsKeyId"] == KEY
    assert tags_of(stage, changed["VolumeId"])["who"] == "me"
    assert tags_of(stage, instance["InstanceId"])["who"] == "me"


EC2_INSTANCE = Rig(
    plant=plant_instance,
    plant_many=lambda stage, count: seed(stage, instances=count, volumes_per=2),
    lose=lose_snapshot,
    tags_of=tags_of,
    copies_with=snapshots_with,
    remains=remains,
    absent_id="i-0123456789abcdef0",
    absent_ref="snap-0123456789abcdef0",
    recoveries=(
        RecoveryCase("as it was", nothing, _check_instance),
        RecoveryCase("otherwise", _all_options, _check_all_options),
    ),
    more_targets=lambda stage: [*special_instances(stage), *_with_agents(stage)],
)


def _plant_rich(stage: Stage) -> str:
    """An instance with everything that a launch can be asked for."""
    hand = stage.hand
    subnet_id, group_id = _network_with_ipv6(stage)
    hand.call("ec2", "CreateKeyPair", KeyName="ops")
    _profile(stage)
    hand.call("ec2", "CreatePlacementGroup", GroupName="apart", Strategy="spread")
    interface = {
        "SubnetId": subnet_id,
        "Groups": [group_id],
        "DeleteOnTermination": True,
        "Ipv6AddressCount": 1,
        "SecondaryPrivateIpAddressCount": 1,
    }
    made = hand.call(
        "ec2",
        "RunInstances",
        ImageId="ami-0abcdef1234567890",
        MinCount=1,
        MaxCount=1,
        InstanceType="m5.xlarge",
        KeyName="ops",
        IamInstanceProfile={"Name": "web"},
        NetworkInterfaces=[
            {**interface, "DeviceIndex": index, "Description": f"interface {index}"}
            for index in range(2)
        ],
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 10}}],
        TagSpecifications=[tags.specification(each, RED) for each in ("instance", "volume")],
        UserData="#!/bin/sh\n",
        InstanceInitiatedShutdownBehavior="terminate",
        DisableApiTermination=True,
        DisableApiStop=True,
        **RICH,
    )["Instances"][0]
    last = made["NetworkInterfaces"][1]["NetworkInterfaceId"]
    hand.call(
        "ec2",
        "ModifyNetworkInterfaceAttribute",
        NetworkInterfaceId=last,
        SourceDestCheck={"Value": False},
    )
    return str(made["InstanceId"])


# What the rich instance is asked for, and its recovery has to be.
RICH: Mapping[str, Any] = {
    "CpuOptions": {"CoreCount": 2, "ThreadsPerCore": 1},
    "EnclaveOptions": {"Enabled": True},
    "MaintenanceOptions": {"AutoRecovery": "disabled"},
    "MetadataOptions": {
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 5,
        "InstanceMetadataTags": "enabled",
    },
    "PrivateDnsNameOptions": {
        "HostnameType": "resource-name",
        "EnableResourceNameDnsARecord": True,
    },
    "Placement": {"Tenancy": "dedicated", "GroupName": "apart"},
}


def _network_with_ipv6(stage: Stage) -> tuple[str, str]:
    """A subnet with addresses of both kinds, and a security group for it."""
    hand = stage.hand
    made = hand.call("ec2", "CreateVpc", CidrBlock="10.1.0.0/16", AmazonProvidedIpv6CidrBlock=True)
    vpc_id = made["Vpc"]["VpcId"]
    vpc = hand.call("ec2", "DescribeVpcs", VpcIds=[vpc_id])["Vpcs"][0]
    block = vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].replace("/56", "/64")
    subnet = hand.call(
        "ec2",
        "CreateSubnet",
        VpcId=vpc_id,
        CidrBlock="10.1.1.0/24",
        Ipv6CidrBlock=block,
        AvailabilityZone=ZONE,
    )["Subnet"]
    group = hand.call(
        "ec2", "CreateSecurityGroup", GroupName="web", Description="web", VpcId=vpc_id
    )
    return subnet["SubnetId"], group["GroupId"]


def _check_rich(stage: Stage, original: Resource, made: Mapping[str, Refs]) -> None:
    before = instance_of(stage, original.resource_id)
    after = instance_of(stage, made["run"]["instance"])
    for name, value in RICH.items():
        assert value.items() <= after[name].items(), name
    for name in ("KeyName", "IamInstanceProfile", "SubnetId", "SecurityGroups"):
        assert after[name] == before[name]
    for old, new in zip(before["NetworkInterfaces"], after["NetworkInterfaces"], strict=True):
        for name in ("SubnetId", "Groups", "Description", "SourceDestCheck"):
            assert new[name] == old[name]
        for name in ("PrivateIpAddresses", "Ipv6Addresses"):
            assert len(new[name]) == len(old[name])
    for name, value in (
        ("disableApiTermination", True),
        ("disableApiStop", True),
        ("instanceInitiatedShutdownBehavior", "terminate"),
    ):
        assert attribute_of(stage, after["InstanceId"], name) == value
    assert base64.b64decode(attribute_of(stage, after["InstanceId"], "userData")) == b"#!/bin/sh\n"


def _lying_still(_stage: Stage, _original: Resource) -> Json:
    return {"start": False}


def _check_still(stage: Stage, original: Resource, made: Mapping[str, Refs]) -> None:
    _check_rich(stage, original, made)
    assert instance_of(stage, made["run"]["instance"])["State"]["Name"] == "stopped"


def _twice(_stage: Stage, _original: Resource) -> Json:
    return {"number_of_instances": 2, "user_data": "hello"}


def _check_twice(stage: Stage, original: Resource, made: Mapping[str, Refs]) -> None:
    launched = list(made["run"].values())
    assert len(launched) == 2
    for instance_id in launched:
        _check_instance(stage, original, {"run": {"instance": instance_id}})
        _check_exchanged(stage, instance_id)
        assert base64.b64decode(attribute_of(stage, instance_id, "userData")) == b"hello"


def _check_exchanged(stage: Stage, instance_id: str) -> None:
    """Each volume is of a snapshot that no AMI has, and ends with its instance as it did."""
    initial = {
        snapshot_id
        for image in stage.hand.call("ec2", "DescribeImages", Owners=["self"])["Images"]
        for snapshot_id in behind_image(stage, image["ImageId"])
    }
    instance = instance_of(stage, instance_id)
    for mapping in instance["BlockDeviceMappings"]:
        volume = volume_of(stage, mapping["Ebs"]["VolumeId"])
        assert volume["SnapshotId"] not in initial
        is_root = mapping["DeviceName"] == instance["RootDeviceName"]
        assert mapping["Ebs"]["DeleteOnTermination"] == is_root
    volumes = describe(stage, "DescribeVolumes", "Volumes")
    assert all(volume["Attachments"] for volume in volumes), "a root volume is left over"


def _check_as_it_was(stage: Stage, original: Resource, made: Mapping[str, Refs]) -> None:
    _check_instance(stage, original, made)
    _check_exchanged(stage, made["run"]["instance"])


def _lose_either(stage: Stage, ref: str) -> object:
    return (lose_image if ref.startswith("ami-") else lose_snapshot)(stage, ref)


def _behind_either(stage: Stage, ref: str) -> list[str]:
    return behind_image(stage, ref) if ref.startswith("ami-") else [ref]


def _with_named_image(stage: Stage) -> list[tuple[str, Json]]:
    instance_id = plant_instance(stage)
    own = stage.hand.call("ec2", "CreateImage", InstanceId=instance_id, Name="golden")["ImageId"]
    return [(instance_id, {"backup_option": "I", "initial_ami": own})]


_ONLY_AMI = replace(
    EC2_INSTANCE,
    lose=lose_image,
    copies_with=images_with,
    made_of=behind_image,
    absent_ref="ami-0123456789abcdef0",
    more_targets=lambda _: (),
)

WAYS: Mapping[str, Rig] = {
    "": EC2_INSTANCE,
    "by AMI": replace(
        _ONLY_AMI,
        target_options={"backup_option": "A"},
        copying=IMAGE_COPIES,
        copies_at=images_at,
        shared_with=image_shared_with,
    ),
    "with an initial AMI": replace(
        EC2_INSTANCE,
        lose=_lose_either,
        copies_with=lambda stage, token: images_with(stage, token) or snapshots_with(stage, token),
        made_of=_behind_either,
        target_options={"backup_option": "I"},
        more_targets=_with_named_image,
        recoveries=(
            RecoveryCase("as it was", nothing, _check_as_it_was),
            RecoveryCase("otherwise", _all_options, _check_all_options),
            RecoveryCase("twice", _twice, _check_twice),
        ),
    ),
    "with everything": replace(
        EC2_INSTANCE,
        plant=_plant_rich,
        more_targets=lambda _: (),
        recoveries=(
            RecoveryCase("as it was", nothing, _check_rich),
            RecoveryCase("lying still", _lying_still, _check_still),
        ),
    ),
    "by AMI without reboot": replace(_ONLY_AMI, target_options={"backup_option": "N"}),
}
