"""EC2 as the contract tests see it, past the product: what there is, made and lost by hand."""

from typing import Any

from cpm.aws import tags
from cpm.resources.contract import Json, Resource
from cpm.testing.stage import REGION, Stage

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


def attribute_of(stage: Stage, instance_id: str, name: str) -> Any:
    """What EC2 tells of one instance at a time."""
    answer = stage.hand.call(
        "ec2", "DescribeInstanceAttribute", InstanceId=instance_id, Attribute=name
    )
    return answer[name[0].upper() + name[1:]]["Value"]


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


def nothing(_stage: Stage, _original: Resource) -> Json:
    """No options: as it was."""
    return {}
