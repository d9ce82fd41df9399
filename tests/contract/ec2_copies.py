"""How snapshots and AMIs get to other places, for the driver suite."""

from typing import Any

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.testing.stage import REGION, CopyCase, Stage
from tests.contract.rds_rigs import key, make_sharing_key

_RED = {"team": "red", "Name": "data"}


def volume(stage: Stage, **chosen: Any) -> str:
    """A volume; its id."""
    made = stage.hand.call(
        "ec2",
        "CreateVolume",
        AvailabilityZone=f"{REGION}a",
        Size=4,
        VolumeType="gp3",
        TagSpecifications=[tags.specification("volume", _RED)],
        **chosen,
    )
    return str(made["VolumeId"])


def _under_our_key(stage: Stage) -> str:
    return volume(stage, Encrypted=True, KmsKeyId=key(stage))


def _under_awss_key(stage: Stage) -> str:
    make_sharing_key(stage)
    return volume(stage, Encrypted=True)


def snapshots_at(aws: Aws) -> dict[str, dict[str, str]]:
    """All snapshots of an account and region, with their tags."""
    found = aws.pages("ec2", "DescribeSnapshots", "Snapshots", OwnerIds=["self"])
    return {each["SnapshotId"]: tags.from_aws(each.get("Tags")) for each in found}


def snapshot_shared_with(aws: Aws, snapshot_id: str) -> set[str]:
    """The accounts with which a snapshot is shared."""
    named = {"SnapshotId": snapshot_id, "Attribute": "createVolumePermission"}
    answer = aws.call("ec2", "DescribeSnapshotAttribute", **named)
    return {each["UserId"] for each in answer["CreateVolumePermissions"]}


VOLUME_COPIES = (
    CopyCase("to another region", _under_our_key),
    CopyCase("in the clear to another account", volume, crosses_accounts=True, region=REGION),
    CopyCase("to another account and region", _under_our_key, crosses_accounts=True),
    CopyCase("from under AWS's own key", _under_awss_key, crosses_accounts=True),
)


def _instance(stage: Stage, *devices: dict[str, Any]) -> str:
    """An instance with these volumes, the root first; its id."""
    image = stage.hand.call("ec2", "DescribeImages", Owners=["amazon"])["Images"][0]
    made = stage.hand.call(
        "ec2",
        "RunInstances",
        ImageId=image["ImageId"],
        MinCount=1,
        MaxCount=1,
        BlockDeviceMappings=[
            {"DeviceName": name, "Ebs": {"VolumeSize": 8, **chosen}}
            for name, chosen in zip(("/dev/xvda", "/dev/sdf"), devices, strict=True)
        ],
        TagSpecifications=[tags.specification("instance", _RED)],
    )
    return str(made["Instances"][0]["InstanceId"])


def _plain_instance(stage: Stage) -> str:
    return _instance(stage, {}, {})


def _mixed_instance(stage: Stage) -> str:
    return _instance(stage, {}, {"Encrypted": True, "KmsKeyId": key(stage)})


def _instance_under_awss_key(stage: Stage) -> str:
    make_sharing_key(stage)
    return _instance(stage, {"Encrypted": True}, {})


def images_at(aws: Aws) -> dict[str, dict[str, str]]:
    """All AMIs of an account and region, with their tags."""
    found = aws.call("ec2", "DescribeImages", Owners=["self"])["Images"]
    return {each["ImageId"]: tags.from_aws(each.get("Tags")) for each in found}


def image_shared_with(aws: Aws, image_id: str) -> set[str]:
    """The accounts with which an AMI, or one of its snapshots, is shared."""
    named = {"ImageId": image_id, "Attribute": "launchPermission"}
    permissions = aws.call("ec2", "DescribeImageAttribute", **named)["LaunchPermissions"]
    image = aws.call("ec2", "DescribeImages", ImageIds=[image_id])["Images"][0]
    parts = [device["Ebs"]["SnapshotId"] for device in image["BlockDeviceMappings"]]
    users = {each["UserId"] for each in permissions}
    return users.union(*(snapshot_shared_with(aws, part) for part in parts))


IMAGE_COPIES = (
    CopyCase("to another region", _mixed_instance),
    CopyCase(
        "in the clear to another account", _plain_instance, crosses_accounts=True, region=REGION
    ),
    CopyCase("to another account and region", _mixed_instance, crosses_accounts=True),
    CopyCase("from under AWS's own key", _instance_under_awss_key, crosses_accounts=True),
)
