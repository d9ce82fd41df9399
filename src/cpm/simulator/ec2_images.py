"""AMIs, with the real mappings of what they were made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from moto.ec2.models import EC2Backend

from cpm.simulator import ec2_snapshots, ec2_state, ec2_tags
from cpm.simulator.calls import Call
from cpm.simulator.config import Config
from cpm.simulator.ec2_errors import malformed, missing_parameter
from cpm.simulator.ec2_snapshots import Snapshot
from cpm.simulator.errors import AwsError
from cpm.simulator.lives import State
from cpm.simulator.xml import iso

AMAZON = "137112412989"


@dataclass(frozen=True)
class Device:
    """A volume that instances of an image start with: of a snapshot, or blank with a size."""

    name: str
    volume_size: int
    snapshot_id: str | None = None
    volume_type: str = "gp2"
    iops: int | None = None
    throughput: int | None = None
    delete_on_termination: bool = False
    encrypted: bool = False

    def shown(self) -> Mapping[str, Any]:
        """As DescribeImages shows it."""
        return {
            "DeviceName": self.name,
            "Ebs": {
                "SnapshotId": self.snapshot_id,
                "VolumeSize": self.volume_size,
                "VolumeType": self.volume_type,
                "Iops": self.iops,
                "Throughput": self.throughput,
                "DeleteOnTermination": self.delete_on_termination,
                "Encrypted": self.encrypted,
            },
        }

    def of_snapshot(self, snapshot: Snapshot) -> "Device":
        """The same device, of another snapshot."""
        encrypted = snapshot.encryption.encrypted
        return replace(self, snapshot_id=snapshot.id, encrypted=encrypted)


@dataclass(eq=False, kw_only=True)
class Image:
    """An AMI. It is pending until its snapshots are completed, and fails when one of them does."""

    id: str
    ec2_backend: EC2Backend
    name: str
    devices: list[Device]
    creation_date: datetime
    root_device_name: str
    description: str = ""
    architecture: str = "x86_64"
    platform: str | None = None
    virtualization_type: str = "hvm"
    kernel_id: str | None = None
    # What is shown of the system in it: see ec2_traits.
    traits: Mapping[str, Any] = field(default_factory=dict)
    source_instance_id: str | None = None
    source_image_id: str | None = None
    source_image_region: str | None = None
    state: str = "pending"
    user_ids: set[str] = field(default_factory=set)
    is_public: bool = False

    @property
    def owner_id(self) -> str:
        """The account that owns it."""
        return self.ec2_backend.account_id

    @property
    def owner_alias(self) -> str | None:
        """`amazon` for Amazon's own."""
        return "amazon" if self.owner_id == AMAZON else None

    def settle(self, config: Config) -> str:
        """`pending`, `available` or `failed` by now; the last two are for good."""
        if self.state == "pending":
            states = {snapshot.settle(config) for snapshot in self.snapshots()}
            if State.FAILED in states:
                self.state = "failed"
            elif State.PENDING not in states:
                self.state = "available"
        return self.state

    def snapshots(self) -> list[Snapshot]:
        """The snapshots behind its devices."""
        known = ec2_snapshots.table(self.ec2_backend)
        ids = [device.snapshot_id for device in self.devices if device.snapshot_id]
        return [known[snapshot_id] for snapshot_id in ids if snapshot_id in known]

    def is_usable_by(self, account: str) -> bool:
        """Whether `account` may start instances of it."""
        return self.is_public or account == self.owner_id or account in self.user_ids

    def shown(self, viewer: str) -> dict[str, Any]:
        """As DescribeImages shows it to the account `viewer`."""
        mine = ec2_state.backend(viewer, self.ec2_backend.region_name)
        return {
            "ImageId": self.id,
            "ImageLocation": f"{self.owner_id}/{self.name}",
            "State": self.state,
            "OwnerId": self.owner_id,
            "ImageOwnerAlias": self.owner_alias,
            "CreationDate": iso(self.creation_date),
            "Public": self.is_public,
            "Architecture": self.architecture,
            "ImageType": "machine",
            "Platform": self.platform,
            "Name": self.name,
            "Description": self.description,
            "RootDeviceType": "ebs",
            "RootDeviceName": self.root_device_name,
            "VirtualizationType": self.virtualization_type,
            "Hypervisor": "xen",
            **self.traits,
            "SourceInstanceId": self.source_instance_id,
            "SourceImageId": self.source_image_id,
            "SourceImageRegion": self.source_image_region,
            "BlockDeviceMappings": [device.shown() for device in self.devices],
            "Tags": ec2_tags.shown(mine, self.id) or None,
        }


def table(ec2: EC2Backend) -> dict[str, Image]:
    """The AMIs that one account has in one region."""
    return ec2_state.table(ec2, "amis")


def deregistered(ec2: EC2Backend) -> dict[str, bool]:
    """The ids of the AMIs that were deregistered."""
    return ec2_state.table(ec2, "deregistered_images")


def own(call: Call, image_id: str) -> Image:
    """An AMI of the caller's; raises InvalidAMIID.NotFound or, when it was one, .Unavailable."""
    check_id(image_id)
    ec2 = ec2_state.backend(call.account, call.region)
    found = table(ec2).get(image_id)
    if found is None:
        if image_id in deregistered(ec2):
            text = f"The image ID '{image_id}' is no longer available"
            raise AwsError("InvalidAMIID.Unavailable", text)
        raise missing(image_id)
    found.settle(call.config)
    return found


def missing(*image_ids: str) -> AwsError:
    """What EC2 says of AMIs that the caller cannot see."""
    listed = ", ".join(image_ids)
    text = (
        f"The image id '[{listed}]' does not exist"
        if len(image_ids) == 1
        else f"The image ids '[{listed}]' do not exist"
    )
    return AwsError("InvalidAMIID.NotFound", text)


def check_id(image_id: str) -> None:
    """Raise unless this could be an AMI's id."""
    if not image_id.startswith("ami-"):
        raise malformed("InvalidAMIID.Malformed", image_id, "ami")


def users_of(ec2: EC2Backend, snapshot_id: str) -> list[str]:
    """The ids of the registered AMIs that need this snapshot."""
    return [
        image.id
        for image in table(ec2).values()
        if any(device.snapshot_id == snapshot_id for device in image.devices)
    ]


def device_of(mapping: Mapping[str, Any], snapshot: Snapshot | None) -> Device:
    """A device as a `BlockDeviceMappings` entry describes it, of `snapshot` or blank."""
    ebs = mapping.get("Ebs", {})
    size = ebs.get("VolumeSize") or (snapshot.volume_size if snapshot else None)
    if not size:
        raise missing_parameter("size/snapshot")
    return Device(
        name=mapping["DeviceName"],
        volume_size=size,
        snapshot_id=snapshot.id if snapshot else None,
        volume_type=ebs.get("VolumeType", "gp2"),
        iops=ebs.get("Iops"),
        throughput=ebs.get("Throughput"),
        delete_on_termination=ebs.get("DeleteOnTermination", False),
        encrypted=bool(ebs.get("Encrypted") or (snapshot and snapshot.encryption.encrypted)),
    )


def overridden(device: Device, mapping: Mapping[str, Any]) -> Device:
    """`device` with what the entry `mapping` says otherwise."""
    ebs = mapping.get("Ebs", {})
    if ebs.get("VolumeSize", device.volume_size) < device.volume_size:
        raise AwsError(
            "InvalidBlockDeviceMapping",
            f"Volume of size {ebs['VolumeSize']}GB is smaller than snapshot "
            f"'{device.snapshot_id}', expect size >= {device.volume_size}GB",
        )
    retyped = ebs.get("VolumeType", device.volume_type) != device.volume_type
    return replace(
        device,
        volume_size=ebs.get("VolumeSize", device.volume_size),
        volume_type=ebs.get("VolumeType", device.volume_type),
        iops=ebs.get("Iops", None if retyped else device.iops),
        throughput=ebs.get("Throughput", None if retyped else device.throughput),
        delete_on_termination=ebs.get("DeleteOnTermination", device.delete_on_termination),
        encrypted=ebs.get("Encrypted", device.encrypted) or device.encrypted,
    )
