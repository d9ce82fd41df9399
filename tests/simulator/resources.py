"""The small things that many tests here need: volumes, snapshots, instances, and how they look."""

from typing import TYPE_CHECKING, Any

from cpm.simulator.process import Credentials, Simulator
from tests import owners

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ZONE = "us-east-1a"
BASE_IMAGE = "ami-0abcdef1234567890"
ARM_IMAGE = "ami-0aaaaaaaaaaaaaaa64"
WINDOWS_IMAGE = "ami-0fedcba0987654321"


def connect(simulator: Simulator, service: str, key: Credentials) -> Any:
    """A client of a simulator that the test itself runs."""
    return owners.client(simulator.endpoint, service, key)


def make_volume(ec2: "EC2Client", size: int = 8, **more: Any) -> str:
    """A volume in the first zone; its id."""
    return ec2.create_volume(AvailabilityZone=ZONE, Size=size, **more)["VolumeId"]


def make_snapshot(ec2: "EC2Client", volume_id: str | None = None, **more: Any) -> str:
    """A snapshot, of a new volume unless one is named; its id."""
    return ec2.create_snapshot(VolumeId=volume_id or make_volume(ec2), **more)["SnapshotId"]


def make_completed(ec2: "EC2Client", volume_id: str | None = None, **more: Any) -> str:
    """A snapshot that has been seen completed; its id."""
    snapshot_id = make_snapshot(ec2, volume_id, **more)
    assert look(ec2, snapshot_id)["State"] == "completed"
    return snapshot_id


def run_instance(ec2: "EC2Client", **more: Any) -> Any:
    """One instance of the base image; as RunInstances shows it."""
    wanted = {"ImageId": BASE_IMAGE, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro"}
    wanted["Placement"] = {"AvailabilityZone": ZONE}
    return ec2.run_instances(**{**wanted, **more})["Instances"][0]


def look(ec2: "EC2Client", resource_id: str) -> Any:
    """A snapshot, volume, image or instance as its Describe operation shows it now."""
    match resource_id.partition("-")[0]:
        case "snap":
            return ec2.describe_snapshots(SnapshotIds=[resource_id])["Snapshots"][0]
        case "vol":
            return ec2.describe_volumes(VolumeIds=[resource_id])["Volumes"][0]
        case "ami":
            return ec2.describe_images(ImageIds=[resource_id])["Images"][0]
        case _:
            found = ec2.describe_instances(InstanceIds=[resource_id])
            return found["Reservations"][0]["Instances"][0]


def volume_at(ec2: "EC2Client", instance_id: str, device: str) -> Any:
    """The volume at a device of an instance."""
    mappings = look(ec2, instance_id)["BlockDeviceMappings"]
    found = {item["DeviceName"]: item["Ebs"]["VolumeId"] for item in mappings}
    return look(ec2, found[device])


def tagged(kind: str, **values: str) -> list[Any]:
    """TagSpecifications for one type of resource."""
    listed = [{"Key": key, "Value": value} for key, value in values.items()]
    return [{"ResourceType": kind, "Tags": listed}]


def tags_of(shown: Any) -> dict[str, str]:
    """The tags of something as a dictionary."""
    return {tag["Key"]: tag["Value"] for tag in shown.get("Tags", [])}
