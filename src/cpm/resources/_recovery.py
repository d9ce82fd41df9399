"""What recoveries of volumes and instances share: checks of copies, volumes to be made, tags."""

from collections.abc import Mapping
from dataclasses import dataclass

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.resources import _ec2
from cpm.resources.contract import Json, OptionRefused
from cpm.resources.copied import Copied
from cpm.resources.options import option

# Nothing was wrong with an option; what it is about is.
NO_FIELD = "non_field_errors"

_PROVISIONED = ("io1", "io2")
_WITH_IOPS = ("io1", "io2", "gp3")
_SMALLEST_GIB = {"io1": 4, "io2": 4, "st1": 125, "sc1": 125}

VOLUME_TYPES = {
    "gp3": "General purpose SSD (gp3)",
    "gp2": "General purpose SSD (gp2)",
    "io1": "Provisioned IOPS SSD (io1)",
    "io2": "Provisioned IOPS SSD (io2)",
    "st1": "Throughput optimized HDD (st1)",
    "sc1": "Cold HDD (sc1)",
    "standard": "Magnetic (standard)",
}


@dataclass(frozen=True)
class Tagging:
    """The options on tags that every recovery has."""

    preserve_tags: bool = option(True, label="Preserve tags", help="Give it the original's tags.")
    additional_tags: Mapping[str, str] = option(
        dict, label="Additional tags", help="Win over the original's tags of the same key."
    )


@dataclass(frozen=True, slots=True)
class VolumeWish:
    """What was asked of a volume; None where nothing was. `field` puts its wire names in place."""

    volume_type: str | None = None
    size_gib: int | None = None
    iops: int | None = None
    throughput: int | None = None
    encrypted: bool | None = None
    kms_key: str | None = None
    field_prefix: str = ""

    def field(self, name: str) -> str:
        """The wire name of one of the options."""
        return self.field_prefix + name


def wanted_tags(options: Tagging, original: Mapping[str, str]) -> dict[str, str]:
    """The tags that a recovered thing gets beside the server's own; raises OptionRefused."""
    for key, value in options.additional_tags.items():
        problem = tags.problem(key, value)
        if problem:
            raise OptionRefused("additional_tags", "invalid", problem)
    kept = tags.of_resource(original) if options.preserve_tags else {}
    # Those asked for come first, so that they survive where AWS has no room for all.
    return dict(options.additional_tags) | {
        key: value for key, value in kept.items() if key not in options.additional_tags
    }


def completed_snapshots(aws: Aws, copies: Mapping[str, Copied]) -> dict[str, Json]:
    """AWS's snapshots of the copies, by snapshot id; raises OptionRefused when one is not there."""
    there = [snapshot_id for snapshot_id, copy in copies.items() if not copy.is_to_come]
    found = {each["SnapshotId"]: each for each in _ec2.by_ids(aws, _ec2.SNAPSHOTS, there)}
    found |= {copy.aws_ref: _to_come(copy) for copy in copies.values() if copy.is_to_come}
    for snapshot_id, copy in copies.items():
        if snapshot_id not in found:
            text = f"snapshot {snapshot_id} of {copy.resource_id} does not exist in {aws.region}"
            raise OptionRefused(NO_FIELD, "does_not_exist", text)
        if found[snapshot_id]["State"] != "completed":
            raise OptionRefused(NO_FIELD, "invalid", f"snapshot {snapshot_id} is not complete")
    return found


def _to_come(copy: Copied) -> Json:
    """What AWS will say of a snapshot."""
    return {
        "SnapshotId": copy.aws_ref,
        "State": "completed",
        "VolumeSize": copy.size_gib,
        "Encrypted": copy.is_encrypted,
    }


def volume_parameters(wish: VolumeWish, original: Json, snapshot: Json) -> Json:
    """EC2's words for a volume made of `snapshot`: as `original` was, unless wished otherwise.

    The keys are those of `EbsBlockDevice`, which `CreateVolume` almost shares. Raises
    OptionRefused.
    """
    volume_type = wish.volume_type or original.get("volume_type") or "gp3"
    chosen = {
        "SnapshotId": snapshot["SnapshotId"],
        "VolumeType": volume_type,
        "VolumeSize": _size(wish, volume_type, original, snapshot),
        "Iops": _iops(wish, volume_type, original),
        "Throughput": _throughput(wish, volume_type, original),
        **_encryption(wish, snapshot),
    }
    return {name: value for name, value in chosen.items() if value is not None}


def to_create(volume: Json, zone: str) -> Json:
    """The parameters of `CreateVolume` for what an `EbsBlockDevice` would make."""
    renamed = {"VolumeSize": "Size"}
    of_launches = "DeleteOnTermination"
    kept = {renamed.get(name, name): value for name, value in volume.items() if name != of_launches}
    return kept | {"AvailabilityZone": zone}


def _size(wish: VolumeWish, volume_type: str, original: Json, snapshot: Json) -> int:
    least: int = snapshot["VolumeSize"]
    if wish.size_gib is not None and wish.size_gib < least:
        text = f"the snapshot needs {least} GiB at least"
        raise OptionRefused(wish.field("size_gib"), "min_value", text)
    smallest = _SMALLEST_GIB.get(volume_type, 1)
    size = wish.size_gib or max(least, original.get("size_gib") or 0)
    if size < smallest:
        text = f"a {volume_type} volume has {smallest} GiB at least"
        raise OptionRefused(wish.field("size_gib"), "min_value", text)
    return size


def _iops(wish: VolumeWish, volume_type: str, original: Json) -> int | None:
    if volume_type not in _WITH_IOPS:
        if wish.iops is not None:
            text = f"{volume_type} volumes take no IOPS"
            raise OptionRefused(wish.field("iops"), "invalid", text)
        return None
    # IOPS of another type say nothing: those of gp2 follow from its size.
    same_kind = original.get("volume_type") in _WITH_IOPS
    iops: int | None = wish.iops or (original.get("iops") if same_kind else None)
    if iops is None and volume_type in _PROVISIONED:
        text = f"{volume_type} volumes need a number of IOPS"
        raise OptionRefused(wish.field("iops"), "required", text)
    return iops


def _throughput(wish: VolumeWish, volume_type: str, original: Json) -> int | None:
    if volume_type == "gp3":
        return wish.throughput or original.get("throughput")
    if wish.throughput is not None:
        text = f"{volume_type} volumes take no throughput"
        raise OptionRefused(wish.field("throughput"), "invalid", text)
    return None


def _encryption(wish: VolumeWish, snapshot: Json) -> Json:
    is_encrypted = snapshot.get("Encrypted", False)
    if wish.encrypted is False:
        if is_encrypted:
            text = "what comes from an encrypted snapshot is encrypted"
            raise OptionRefused(wish.field("encrypted"), "invalid", text)
        if wish.kms_key:
            text = "a key is of use to an encrypted volume only"
            raise OptionRefused(wish.field("kms_key"), "invalid", text)
    if wish.kms_key:
        return {"Encrypted": True, "KmsKeyId": wish.kms_key}
    # A volume of an encrypted snapshot takes over its key, unless it is told otherwise.
    return {"Encrypted": True} if wish.encrypted and not is_encrypted else {}
