"""EBS volumes: snapshots of single volumes, and volumes recovered from any EBS snapshot."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cpm.aws.sessions import Aws
from cpm.kernel.tagspec import Option
from cpm.resources import (
    _ebs_snapshots,
    _ec2,
    _instance_facts,
    _snapshot_copies,
    _volumes,
    restored_snapshots,
)
from cpm.resources._recovery import (
    VOLUME_TYPES,
    Tagging,
    VolumeWish,
    completed_snapshots,
    to_create,
    volume_parameters,
    wanted_tags,
)
from cpm.resources.contract import (
    Driver,
    Json,
    OptionRefused,
    Order,
    Resource,
    Restore,
    SnapshotCollection,
    TagRules,
    Whole,
)
from cpm.resources.copied import Copied, Source, Use
from cpm.resources.options import option

_DEVICE = re.compile(r"(/dev/)?(sd|xvd|hd|nvme)[a-z0-9]+")
# AWS lets several instances share volumes of these types.
_FOR_SEVERAL_INSTANCES = ("io1", "io2")


@dataclass(frozen=True)
class TargetOptions:
    """A volume has nothing to choose."""


@dataclass(frozen=True)
class RecoverOptions(Tagging):
    """What may be asked of a recovered volume; what is not asked is as the original was."""

    availability_zone: str | None = option(
        None,
        label="Availability zone",
        help="That of the instance to attach to, else the original's.",
    )
    volume_type: str | None = option(None, label="Volume type", choices=VOLUME_TYPES)
    size_gib: int | None = option(None, label="Size (GiB)", minimum=1, maximum=65536)
    iops: int | None = option(None, label="IOPS", minimum=100, maximum=256000)
    throughput: int | None = option(None, label="Throughput (MiB/s)", minimum=125, maximum=2000)
    encrypted: bool | None = option(None, label="Encrypted")
    kms_key: str | None = option(None, label="KMS key", max_length=2048)
    attach_to_instance: str | None = option(None, label="Attach to instance", max_length=64)
    device: str | None = option(None, label="Device", max_length=64, help="The original's.")
    attach_behavior: str = option(
        "F",
        label="Attach behavior",
        choices={
            "F": "Only if the device is free",
            "S": "Switch attached volumes",
            "D": "Switch attached volumes and delete the old one",
        },
    )


def _discover(aws: Aws) -> Iterator[Resource]:
    in_life = _ec2.filter_by("status", "available", "in-use")
    for volume in _ec2.everything(aws, _ec2.VOLUMES, in_life):
        yield _volumes.resource(volume, aws.region)


def _describe(aws: Aws, ids: Iterable[str]) -> Iterator[Resource]:
    for volume in _ec2.by_ids(aws, _ec2.VOLUMES, ids):
        if volume["State"] not in ("deleting", "deleted"):
            yield _volumes.resource(volume, aws.region)


def _plan_snapshots(volume: Resource, _options: Any) -> Iterator[Order]:
    yield _ebs_snapshots.single(volume.facts)


def _plan_recovery(aws: Aws, source: Source, options: RecoverOptions) -> list[Order]:
    copy = source.copies[0]
    snapshot = completed_snapshots(aws, {copy.aws_ref: copy})[copy.aws_ref]
    instance = _instance(aws, options)
    volume = volume_parameters(_wish(options), copy.facts, snapshot)
    original = None if source.is_elsewhere else copy.facts.get("availability_zone")
    parameters = to_create(volume, _zone(aws, options, instance, original))
    if copy.facts.get("multi_attach") and parameters["VolumeType"] in _FOR_SEVERAL_INSTANCES:
        parameters["MultiAttachEnabled"] = True
    wanted = wanted_tags(options, copy.facts.get("tags", {}))
    create = Order("create_volume", {"parameters": parameters, "tags": wanted}, step="create")
    return [create, *(_attachment(instance, options, copy) if instance else ())]


def _plan_restores(aws: Aws, source: Source, options: RecoverOptions, use: Use) -> list[Restore]:
    copy = source.copies[0]
    wanted = None if use is Use.MEANS else wanted_tags(options, copy.facts.get("tags", {}))
    wish = restored_snapshots.Wish(
        copy,
        use,
        # Else it is the volume that is larger.
        size_gib=options.size_gib if use is Use.RESULT else None,
        encrypted=options.encrypted,
        kms_key=options.kms_key,
        tags=wanted,
    )
    return restored_snapshots.plan(aws, [wish], is_elsewhere=source.is_elsewhere)


def _wish(options: RecoverOptions) -> VolumeWish:
    return VolumeWish(
        volume_type=options.volume_type,
        size_gib=options.size_gib,
        iops=options.iops,
        throughput=options.throughput,
        encrypted=options.encrypted,
        kms_key=options.kms_key,
    )


def _instance(aws: Aws, options: RecoverOptions) -> Json | None:
    wanted = options.attach_to_instance
    if not wanted:
        return None
    instance = next(_ec2.instances(aws, [wanted]), None)
    if instance is None:
        text = f"instance {wanted} does not exist in {aws.region}"
        raise OptionRefused("attach_to_instance", "does_not_exist", text)
    state = instance["State"]["Name"]
    if state not in ("running", "stopped"):
        text = f"instance {wanted} is {state}"
        raise OptionRefused("attach_to_instance", "invalid", text)
    return instance


def _zone(aws: Aws, options: RecoverOptions, instance: Json | None, original: str | None) -> str:
    wanted = options.availability_zone
    if instance is not None:
        zone: str = instance["Placement"]["AvailabilityZone"]
        if wanted and wanted != zone:
            text = f"instance {instance['InstanceId']} is in {zone}"
            raise OptionRefused("availability_zone", "invalid", text)
        return zone
    zones = _ec2.zone_names(aws)
    if wanted and wanted not in zones:
        text = f"{aws.region} has no zone {wanted}"
        raise OptionRefused("availability_zone", "invalid_choice", text)
    return wanted or (original if original in zones else zones[0])


def _attachment(instance: Json, options: RecoverOptions, copy: Copied) -> Iterator[Order]:
    instance_id = instance["InstanceId"]
    device = _device(options, copy)
    taken_by = _ec2.device_mappings(instance).get(device)
    place = {"instance_id": instance_id, "device": device}
    new = {"volume_id": {"step": "create", "ref": "volume"}}
    if taken_by is None:
        yield Order("attach_volume", new | place, step="attach", after="create")
        return
    _check_switch(instance, device, options)
    old = {"volume_id": taken_by}
    yield Order("detach_volume", old | place, step="detach", after="create")
    yield Order("attach_volume", new | place, step="attach", after="detach")
    if options.attach_behavior == "D":
        yield Order("delete_volume", old, step="delete", after="attach")


def _device(options: RecoverOptions, copy: Copied) -> str:
    device = options.device or copy.device or copy.facts.get("device")
    if not device:
        raise OptionRefused("device", "required", "the original was attached to no device")
    if options.device and not _DEVICE.fullmatch(options.device):
        raise OptionRefused("device", "invalid", f"{options.device} is no name of a device")
    return device


def _check_switch(instance: Json, device: str, options: RecoverOptions) -> None:
    instance_id = instance["InstanceId"]
    if options.attach_behavior == "F":
        raise OptionRefused("device", "invalid", f"{device} of {instance_id} is taken")
    if instance["State"]["Name"] != "stopped":
        text = f"instance {instance_id} must be stopped to switch its volumes"
        raise OptionRefused("attach_to_instance", "invalid", text)


def _excluded_from(volume: Resource) -> Whole | None:
    instance_id = volume.facts["instance_id"]
    return Whole(_instance_facts.KIND, instance_id) if instance_id else None


DRIVER = Driver(
    kind=_volumes.KIND,
    label="EBS volume",
    label_plural="EBS volumes",
    target_collection="volumes",
    target_id_alias="volume_id",
    recovery_type="V",
    snapshot_collections=(
        SnapshotCollection(
            name=_volumes.COLLECTION,
            label="Volume snapshots",
            extra_keys=("volume_device", "instance_id"),
            can_recover=True,
            recover_is_published=False,
            copied_as=_volumes.COPIES,
            archived_as=_volumes.ARCHIVED,
        ),
        SnapshotCollection(
            name=_volumes.COPIES,
            label="DR volume snapshots",
            extra_keys=("volume_device", "instance_id"),
            can_recover=True,
            recover_is_published=False,
            is_copy=True,
            expire=_snapshot_copies.EXPIRE.name,
        ),
        SnapshotCollection(
            name=_volumes.ARCHIVED,
            label="Copies in S3",
            extra_keys=("volume_device", "instance_id"),
            is_archive=True,
            can_recover=True,
            reported_since="1.1.0",
        ),
    ),
    effects=(
        _ebs_snapshots.SINGLE,
        _ebs_snapshots.DELETE,
        _snapshot_copies.COPY,
        _snapshot_copies.COPY_TO_SHARE,
        _snapshot_copies.SHARE,
        _snapshot_copies.EXPIRE,
        *restored_snapshots.EFFECTS,
        _volumes.CREATE,
        _volumes.DETACH,
        _volumes.ATTACH,
        _volumes.DELETE,
    ),
    watches=(
        _ebs_snapshots.WATCH,
        _volumes.CREATED,
        _volumes.ATTACHED,
        _volumes.DETACHED,
    ),
    read_permissions=(
        "ec2:DescribeAvailabilityZones",
        "ec2:DescribeInstances",
        "ec2:DescribeSnapshots",
        "ec2:DescribeVolumes",
        *restored_snapshots.READ_PERMISSIONS,
    ),
    discover=_discover,
    describe=_describe,
    plan_snapshots=_plan_snapshots,
    plan_recovery=_plan_recovery,
    plan_restores=_plan_restores,
    plan_copy=_snapshot_copies.plan,
    target_options=TargetOptions,
    recover_options=RecoverOptions,
    limit="max_independent_ebs_gib",
    in_aws_words=_volumes.in_aws_words,
    inventory=_ebs_snapshots.inventory,
    tag_rules=TagRules("ec2", "volume/", {Option.EXCLUDE: {}}, excluded_from=_excluded_from),
)
