"""EBS volumes: made blank or of a snapshot, listed, changed, deleted as in AWS."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moto.ec2.models import EC2Backend

from cpm.kernel import clock
from cpm.simulator import ec2_listing, ec2_snapshots, ec2_state, ec2_tags, ec2_tokens
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ebs_contents import Contents
from cpm.simulator.ec2_encryption import PLAIN, Encryption, requested
from cpm.simulator.ec2_errors import (
    incorrect_state,
    malformed,
    missing_parameter,
    not_found,
)
from cpm.simulator.ec2_filters import Field, matching
from cpm.simulator.ec2_paging import page, refuse_ids_with_pages
from cpm.simulator.ec2_snapshots import Snapshot
from cpm.simulator.ec2_volume_types import DEFAULT_TYPE, Performance, performance
from cpm.simulator.errors import AwsError
from cpm.simulator.lives import Life, State


@dataclass(eq=False, kw_only=True)
class Attachment:
    """A volume at a device of an instance; moto's instances keep it in their mapping.

    It arrives, and leaves when it is told to, in its own time.
    """

    volume_id: str
    instance_id: str
    device: str
    delete_on_termination: bool = False
    attach_time: datetime = field(default_factory=clock.now)
    arrival: Life | None = None
    departure: Life | None = None

    @property
    def status(self) -> str:
        """`attaching`, `attached` or `detaching`, by now."""
        if self.departure is not None:
            return "detaching"
        return "attached" if self.arrival is None or self.arrival.is_due else "attaching"

    @property
    def is_over(self) -> bool:
        """Whether the volume has left."""
        return self.departure is not None and self.departure.is_due

    def shown(self) -> dict[str, Any]:
        """As DescribeVolumes and AttachVolume show it."""
        return {
            "VolumeId": self.volume_id,
            "InstanceId": self.instance_id,
            "Device": self.device,
            "State": self.status,
            "AttachTime": self.attach_time,
            "DeleteOnTermination": self.delete_on_termination,
        }


@dataclass(frozen=True)
class Plan:
    """A volume that can be made: all its parameters are checked and filled in."""

    size: int
    performance: Performance
    snapshot_id: str | None
    encryption: Encryption
    source: Snapshot | None = None


@dataclass(eq=False, kw_only=True)
class Volume:
    """A volume. `recent_snapshot_ids` are those that were pending when last looked at."""

    id: str
    ec2_backend: EC2Backend
    size: int
    availability_zone: str
    performance: Performance
    life: Life
    snapshot_id: str | None = None
    encryption: Encryption = PLAIN
    multi_attach: bool = False
    last_attachment: Attachment | None = None
    last_snapshot_at: datetime | None = None
    recent_snapshot_ids: list[str] = field(default_factory=list)
    modifications: list[dict[str, Any]] = field(default_factory=list)
    contents: Contents = field(default_factory=Contents)
    lineage: str = ""

    def __post_init__(self) -> None:
        self.lineage = self.lineage or self.id

    @property
    def attachment(self) -> Attachment | None:
        """Where it is attached by now."""
        last = self.last_attachment
        return None if last is None or last.is_over else last

    @property
    def create_time(self) -> datetime:
        """When it was asked for."""
        return self.life.started_at

    @property
    def status(self) -> str:
        """`creating`, `available` or `in-use`, by now."""
        if self.attachment is not None:
            return "in-use"
        return "creating" if self.life.settle(fails=False) is State.PENDING else "available"

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return ec2_tags.of(self.ec2_backend, self.id)

    def shown(self) -> dict[str, Any]:
        """As DescribeVolumes and CreateVolume show it."""
        return {
            "VolumeId": self.id,
            "Size": self.size,
            "SnapshotId": self.snapshot_id or "",
            "AvailabilityZone": self.availability_zone,
            "State": self.status,
            "CreateTime": self.create_time,
            "VolumeType": self.performance.volume_type,
            "Iops": self.performance.iops,
            "Throughput": self.performance.throughput,
            "Encrypted": self.encryption.encrypted,
            "KmsKeyId": self.encryption.kms_key_id,
            "MultiAttachEnabled": self.multi_attach,
            "Attachments": [self.attachment.shown()] if self.attachment else [],
            "Tags": ec2_tags.shown(self.ec2_backend, self.id) or None,
        }


def _attached(read: Any) -> Field[Volume]:
    return lambda volume: read(volume.attachment) if volume.attachment else None


_FIELDS: Mapping[str, Field[Volume]] = {
    "attachment.attach-time": _attached(lambda attachment: attachment.attach_time),
    "attachment.delete-on-termination": _attached(lambda item: item.delete_on_termination),
    "attachment.device": _attached(lambda attachment: attachment.device),
    "attachment.instance-id": _attached(lambda attachment: attachment.instance_id),
    "attachment.status": _attached(lambda attachment: attachment.status),
    "availability-zone": lambda volume: volume.availability_zone,
    "create-time": lambda volume: volume.create_time,
    "encrypted": lambda volume: volume.encryption.encrypted,
    "multi-attach-enabled": lambda volume: volume.multi_attach,
    "size": lambda volume: volume.size,
    "snapshot-id": lambda volume: volume.snapshot_id,
    "status": lambda volume: volume.status,
    "volume-id": lambda volume: volume.id,
    "volume-type": lambda volume: volume.performance.volume_type,
}


def install(handlers: Handlers) -> None:
    """Take over the life of volumes."""
    handlers.add(
        "ec2",
        {
            "CreateVolume": create_volume,
            "DeleteVolume": delete_volume,
            "DescribeVolumes": describe_volumes,
        },
    )


def table(ec2: EC2Backend) -> dict[str, Volume]:
    """The volumes that one account has in one region."""
    return ec2_state.table(ec2, "volumes")


def own(call: Call, volume_id: str) -> Volume:
    """A volume of the caller's; raises InvalidVolume.NotFound."""
    check_id(volume_id)
    found = table(ec2_state.backend(call.account, call.region)).get(volume_id)
    if found is None:
        raise missing(volume_id)
    return found


def missing(*volume_ids: str) -> AwsError:
    """What EC2 says of volumes that do not exist."""
    return not_found("InvalidVolume.NotFound", "volume", volume_ids)


def check_id(volume_id: str) -> None:
    """Raise unless this could be a volume's id."""
    if not volume_id.startswith("vol-"):
        raise malformed("InvalidVolumeID.Malformed", volume_id, "vol")


def plan(call: Call, request: Mapping[str, Any], source: Snapshot | None, too_small: str) -> Plan:
    """What `request` (CreateVolume's parameters, or a device's) comes to; raises as AWS does.

    `too_small` is the code for a volume smaller than its snapshot.
    """
    size = request.get("Size") or request.get("VolumeSize") or (source and source.volume_size)
    if not size:
        raise missing_parameter("size/snapshot")
    if source is not None and size < source.volume_size:
        raise AwsError(
            too_small,
            f"Volume of size {size}GB is smaller than snapshot '{source.id}', "
            f"expect size >= {source.volume_size}GB",
        )
    return Plan(
        size=size,
        performance=performance(request, size),
        snapshot_id=source.id if source else None,
        encryption=requested(
            ec2_state.backend(call.account, call.region),
            request.get("Encrypted"),
            request.get("KmsKeyId"),
            source.encryption if source else PLAIN,
        ),
        source=source,
    )


def make(call: Call, zone: str, wanted: Plan, tags: Mapping[str, str]) -> Volume:
    """A new volume as planned."""
    ec2 = ec2_state.backend(call.account, call.region)
    volume = Volume(
        id=ec2_state.new_id("vol"),
        ec2_backend=ec2,
        size=wanted.size,
        availability_zone=zone,
        performance=wanted.performance,
        life=Life.of(call.config.quick_seconds),
        snapshot_id=wanted.snapshot_id,
        encryption=wanted.encryption,
    )
    if wanted.source is not None:
        _inherit(volume, wanted.source)
    ec2_tags.put(ec2, volume.id, tags)
    table(ec2)[volume.id] = volume
    ec2_listing.hide(ec2, volume.id, call.listed_at())
    return volume


def _inherit(volume: Volume, source: Snapshot) -> None:
    volume.contents = source.contents.fork()
    # What is encrypted anew has no block in common with what it came from.
    if volume.encryption == source.encryption:
        volume.lineage = source.lineage


def make_blank(ec2: EC2Backend, zone: str, size: int, volume_type: str = DEFAULT_TYPE) -> Volume:
    """A new empty volume, ready at once: for estates made in bulk."""
    volume = Volume(
        id=ec2_state.new_id("vol"),
        ec2_backend=ec2,
        size=size,
        availability_zone=zone,
        performance=performance({"VolumeType": volume_type}, size),
        life=Life.of(0),
    )
    table(ec2)[volume.id] = volume
    return volume


def completed(call: Call, snapshot_id: str) -> Snapshot:
    """A snapshot that the caller may use, and that is ready for it; raises IncorrectState."""
    snapshot = ec2_snapshots.usable(call, call.region, snapshot_id)
    if snapshot.life.state is not State.DONE:
        raise incorrect_state(f"Snapshot is in invalid state - {snapshot.status}")
    return snapshot


def remove(volume: Volume) -> None:
    """Take a volume and its tags out of the tables."""
    del table(volume.ec2_backend)[volume.id]
    ec2_tags.drop(volume.ec2_backend, volume.id)


def create_volume(call: Call) -> Mapping[str, Any]:
    """A volume, blank or of a snapshot; the same client token gives the same volume again."""
    known = ec2_tokens.earlier(call)
    if known is not None:
        return own(call, known[0]).shown()
    tags = ec2_tags.specified(call, "volume")["volume"]
    zone = _zone(call)
    snapshot_id = call.get("SnapshotId")
    source = completed(call, snapshot_id) if snapshot_id else None
    wanted = plan(call, call.params, source, "InvalidParameterValue")
    volume = make(call, zone, wanted, tags)
    volume.multi_attach = bool(call.get("MultiAttachEnabled"))
    ec2_tokens.remember(call, [volume.id])
    return {**volume.shown(), "State": "creating"}


def delete_volume(call: Call) -> Mapping[str, Any]:
    """Delete a volume that is attached to nothing."""
    volume = own(call, call.params["VolumeId"])
    if volume.attachment is not None:
        instance_id = volume.attachment.instance_id
        raise AwsError("VolumeInUse", f"Volume {volume.id} is currently attached to {instance_id}")
    remove(volume)
    return {}


def describe_volumes(call: Call) -> Mapping[str, Any]:
    """The caller's volumes, by filters or ids, in pages."""
    refuse_ids_with_pages(call, "VolumeIds", "volumeSet")
    ec2 = ec2_state.backend(call.account, call.region)
    volume_ids = call.get("VolumeIds")
    candidates = (
        _by_ids(ec2, volume_ids) if volume_ids else ec2_listing.listed(ec2, table(ec2).values())
    )
    filters = call.get("Filters", [])
    found = matching(candidates, filters, _FIELDS, lambda volume: volume.tags)
    volumes, token = page(call, found, lambda volume: volume.id)
    return {"Volumes": [volume.shown() for volume in volumes], "NextToken": token}


def _zone(call: Call) -> str:
    zone: str | None = call.get("AvailabilityZone")
    if not zone:
        raise missing_parameter("AvailabilityZone")
    return check_zone(ec2_state.backend(call.account, call.region), zone)


def check_zone(ec2: EC2Backend, zone: str) -> str:
    """`zone`, when the region has it; raises InvalidZone.NotFound."""
    if zone not in ec2_state.zones(ec2):
        raise AwsError("InvalidZone.NotFound", f"The zone '{zone}' does not exist.")
    return zone


def _by_ids(ec2: EC2Backend, volume_ids: Iterable[str]) -> list[Volume]:
    found, unknown = [], []
    for volume_id in dict.fromkeys(volume_ids):
        check_id(volume_id)
        volume = table(ec2).get(volume_id)
        if volume is None or not ec2_listing.is_listed(ec2, volume_id):
            unknown.append(volume_id)
        else:
            found.append(volume)
    if unknown:
        raise missing(*unknown)
    return found
