"""What the driver suite has to know of each resource type: how AWS gets, loses and shows things."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from cpm.aws import tags
from cpm.resources.contract import Json, Refs, Resource
from cpm.testing.stage import REGION, RecoveryCase, Rig, Stage
from tests.contract.dynamodb_rig import DYNAMODB_TABLE
from tests.contract.ec2_copies import (
    IMAGE_COPIES,
    VOLUME_COPIES,
    image_shared_with,
    images_at,
    snapshot_shared_with,
    snapshots_at,
)
from tests.contract.rds_rigs import RDS_CLUSTER, RDS_DATABASE
from tests.contract.redshift_rig import REDSHIFT_CLUSTER

ZONE = f"{REGION}a"
RED = {"team": "red"}
KEY = f"arn:aws:kms:{REGION}:111122223333:key/0a1b2c3d-0000-4444-8888-0a1b2c3d4e5f"


def describe(stage: Stage, operation: str, key: str, **parameters: Any) -> list[Json]:
    """What AWS lists, all pages."""
    return list(stage.hand.pages("ec2", operation, key, **parameters))


def volume_of(stage: Stage, volume_id: str) -> Json:
    """A volume as AWS describes it."""
    (volume,) = describe(stage, "DescribeVolumes", "Volumes", VolumeIds=[volume_id])
    return volume


def instance_of(stage: Stage, instance_id: str) -> Json:
    """An instance as AWS describes it."""
    (found,) = describe(stage, "DescribeInstances", "Reservations", InstanceIds=[instance_id])
    instance: Json = found["Instances"][0]
    return instance


def tags_of(stage: Stage, resource_id: str) -> dict[str, str]:
    """The tags of anything in EC2."""
    by_id = {"Name": "resource-id", "Values": [resource_id]}
    return tags.from_aws(describe(stage, "DescribeTags", "Tags", Filters=[by_id]))


def snapshots_with(stage: Stage, token: str) -> list[str]:
    """The EBS snapshots that carry a token."""
    by_token = {"Name": f"tag:{tags.TOKEN}", "Values": [token]}
    found = describe(stage, "DescribeSnapshots", "Snapshots", OwnerIds=["self"], Filters=[by_token])
    return [snapshot["SnapshotId"] for snapshot in found]


def images_with(stage: Stage, token: str) -> list[str]:
    """The AMIs that carry a token."""
    by_token = {"Name": f"tag:{tags.TOKEN}", "Values": [token]}
    found = describe(stage, "DescribeImages", "Images", Owners=["self"], Filters=[by_token])
    return [image["ImageId"] for image in found]


def image_of(stage: Stage, image_id: str) -> Json:
    """An AMI as AWS describes it."""
    (image,) = describe(stage, "DescribeImages", "Images", ImageIds=[image_id])
    return image


def behind_image(stage: Stage, image_id: str) -> list[str]:
    """The snapshots that an AMI is made of."""
    devices = image_of(stage, image_id)["BlockDeviceMappings"]
    return [device["Ebs"]["SnapshotId"] for device in devices]


def lose_image(stage: Stage, image_id: str) -> object:
    """Deregister an AMI as if somebody else had."""
    return stage.hand.call("ec2", "DeregisterImage", ImageId=image_id)


def lose_snapshot(stage: Stage, snapshot_id: str) -> object:
    """Delete a snapshot as if somebody else had."""
    return stage.hand.call("ec2", "DeleteSnapshot", SnapshotId=snapshot_id)


def remains(stage: Stage) -> set[str]:
    """Volumes and where they are attached, images, and instances that are not terminated."""
    volumes = {
        f"{volume['VolumeId']} {[each['Device'] for each in volume.get('Attachments', ())]}"
        for volume in describe(stage, "DescribeVolumes", "Volumes")
    }
    images = {
        image["ImageId"]
        for image in stage.hand.call("ec2", "DescribeImages", Owners=["self"])["Images"]
    }
    instances = {
        instance["InstanceId"]
        for reservation in describe(stage, "DescribeInstances", "Reservations")
        for instance in reservation["Instances"]
        if instance["State"]["Name"] != "terminated"
    }
    return volumes | images | instances


def seed(stage: Stage, **estate: Any) -> Json:
    """Plant things in bulk."""
    planted: Json = stage.simulator.seed(
        account=stage.account_number, region=REGION, tags=RED, **estate
    )
    return planted


def stopped_instance(stage: Stage, volumes: int = 2) -> str:
    """An instance that is stopped."""
    (instance_id,) = seed(stage, instances=1, volumes_per=volumes)["instances"]
    stage.hand.call("ec2", "StopInstances", InstanceIds=[instance_id])
    return str(instance_id)


# EBS volumes


def plant_volume(stage: Stage) -> str:
    """A standalone volume with everything that can be chosen."""
    made = stage.hand.call(
        "ec2",
        "CreateVolume",
        AvailabilityZone=ZONE,
        Size=11,
        VolumeType="gp3",
        Iops=4000,
        Throughput=200,
        TagSpecifications=[tags.specification("volume", RED | {"Name": "data"})],
    )
    return str(made["VolumeId"])


def _nothing(_stage: Stage, _original: Resource) -> Json:
    return {}


def _check_same(stage: Stage, original: Resource, made: Mapping[str, Refs]) -> None:
    volume = volume_of(stage, made["create"]["volume"])
    assert volume["Size"] == original.size_gib
    assert volume["VolumeType"] == "gp3"
    assert (volume["Iops"], volume["Throughput"]) == (4000, 200)
    assert volume["AvailabilityZone"] == ZONE
    assert volume["State"] == "available"
    carried = tags_of(stage, volume["VolumeId"])
    assert RED.items() <= carried.items()
    assert carried["Name"] == "data"
    assert carried[tags.BACKUP_ID] == "7"


def _other(_stage: Stage, _original: Resource) -> Json:
    return {
        "availability_zone": f"{REGION}b",
        "volume_type": "io2",
        "size_gib": 20,
        "iops": 1000,
        "encrypted": True,
        "kms_key": KEY,
        "preserve_tags": False,
        "additional_tags": {"who": "me"},
    }


def _check_other(stage: Stage, _original: Resource, made: Mapping[str, Refs]) -> None:
    volume = volume_of(stage, made["create"]["volume"])
    assert (volume["VolumeType"], volume["Size"], volume["Iops"]) == ("io2", 20, 1000)
    assert volume["AvailabilityZone"] == f"{REGION}b"
    assert volume["Encrypted"]
    assert volume["KmsKeyId"] == KEY
    carried = tags_of(stage, volume["VolumeId"])
    assert carried["who"] == "me"
    assert "team" not in carried


def _switch(stage: Stage, _original: Resource) -> Json:
    return {
        "attach_to_instance": stopped_instance(stage),
        "device": "/dev/sdf",
        "attach_behavior": "S",
    }


def _check_switched(stage: Stage, _original: Resource, made: Mapping[str, Refs]) -> None:
    volume = volume_of(stage, made["create"]["volume"])
    (attached,) = volume["Attachments"]
    assert attached["Device"] == "/dev/sdf"
    old, *_ = made["detach"]["attachment"].split()
    assert volume_of(stage, old)["State"] == "available"


def _replace(stage: Stage, original: Resource) -> Json:
    return _switch(stage, original) | {"attach_behavior": "D"}


def _check_replaced(stage: Stage, _original: Resource, made: Mapping[str, Refs]) -> None:
    old, *_ = made["detach"]["attachment"].split()
    assert old not in {
        volume["VolumeId"] for volume in describe(stage, "DescribeVolumes", "Volumes")
    }
    (attached,) = volume_of(stage, made["create"]["volume"])["Attachments"]
    assert attached["Device"] == "/dev/sdf"


EBS_VOLUME = Rig(
    plant=plant_volume,
    plant_many=lambda stage, count: seed(stage, standalone=count),
    lose=lose_snapshot,
    tags_of=tags_of,
    copies_with=snapshots_with,
    remains=remains,
    absent_id="vol-0123456789abcdef0",
    absent_ref="snap-0123456789abcdef0",
    recoveries=(
        RecoveryCase("as it was", _nothing, _check_same),
        RecoveryCase("otherwise", _other, _check_other),
        RecoveryCase("switched", _switch, _check_switched),
        RecoveryCase("replaced", _replace, _check_replaced),
    ),
    copying=VOLUME_COPIES,
    copies_at=snapshots_at,
    shared_with=snapshot_shared_with,
)


# EC2 instances


def plant_instance(stage: Stage) -> str:
    """An instance with three volumes."""
    (instance_id,) = seed(stage, instances=1, volumes_per=3)["instances"]
    return str(instance_id)


def _profile(stage: Stage) -> str:
    name = "web"
    stage.hand.call("iam", "CreateInstanceProfile", InstanceProfileName=name)
    return name


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
        "iam_role": "web",
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
        RecoveryCase("as it was", _nothing, _check_instance),
        RecoveryCase("otherwise", _all_options, _check_all_options),
    ),
    more_targets=lambda stage: [*special_instances(stage), *_with_agents(stage)],
)


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

# Each type, in each of the ways in which it protects.
RIGS: Mapping[str, Mapping[str, Rig]] = {
    "ebs_volume": {"": EBS_VOLUME},
    "ec2_instance": {
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
            copies_with=lambda stage, token: (
                images_with(stage, token) or snapshots_with(stage, token)
            ),
            made_of=_behind_either,
            target_options={"backup_option": "I"},
            more_targets=_with_named_image,
            recoveries=(),
        ),
        "by AMI without reboot": replace(_ONLY_AMI, target_options={"backup_option": "N"}),
    },
    "dynamodb_table": {"": DYNAMODB_TABLE},
    "rds_cluster": {"": RDS_CLUSTER},
    "rds_database": {"": RDS_DATABASE},
    "redshift_cluster": {"": REDSHIFT_CLUSTER},
}
