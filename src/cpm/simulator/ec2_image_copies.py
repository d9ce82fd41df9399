"""AMIs are copied between regions and accounts, snapshots and all."""

from collections.abc import Mapping
from typing import Any

from cpm.simulator import (
    ec2_image_listing,
    ec2_image_making,
    ec2_images,
    ec2_snapshot_copies,
    ec2_state,
    ec2_tags,
    ec2_tokens,
)
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ec2_images import Device, Image
from cpm.simulator.errors import AwsError


def install(handlers: Handlers) -> None:
    """Take over CopyImage."""
    handlers.add("ec2", {"CopyImage": copy_image})


def copy_image(call: Call) -> Mapping[str, Any]:
    """Copy an AMI that the caller may start, and whose snapshots it may read, to this region."""
    known = ec2_tokens.earlier(call)
    if known is not None:
        return {"ImageId": known[0]}
    tags = ec2_tags.specified(call, "image", "snapshot")
    region = call.params["SourceRegion"]
    source = ec2_image_listing.usable(call, region, call.params["SourceImageId"])
    _check_storage(call, source)
    ec2_image_making.check_name(call)
    image_id = ec2_state.new_id("ami")
    devices = [
        _copied(call, source, device, image_id, tags["snapshot"]) for device in source.devices
    ]
    image = ec2_image_making.add(
        call,
        image_id,
        {**_copied_tags(call, source), **tags["image"]},
        devices=devices,
        root_device_name=source.root_device_name,
        architecture=source.architecture,
        platform=source.platform,
        virtualization_type=source.virtualization_type,
        traits=source.traits,
        source_image_id=source.id,
        source_image_region=region,
    )
    ec2_tokens.remember(call, [image.id])
    return {"ImageId": image.id}


def _check_storage(call: Call, source: Image) -> None:
    readable = all(snapshot.is_usable_by(call.account) for snapshot in source.snapshots())
    if not readable and source.owner_id != ec2_images.AMAZON:
        text = "You do not have permission to access the storage of this ami"
        raise AwsError("InvalidRequest", text)


def _copied(
    call: Call, source: Image, device: Device, image_id: str, tags: Mapping[str, str]
) -> Device:
    known = {snapshot.id: snapshot for snapshot in source.snapshots()}
    snapshot = known.get(device.snapshot_id or "")
    if snapshot is None:
        return device
    text = f"Copied for DestinationAmi {image_id} from SourceAmi {source.id}"
    return device.of_snapshot(ec2_snapshot_copies.make_copy(call, snapshot, tags, text, source.id))


def _copied_tags(call: Call, source: Image) -> Mapping[str, str]:
    if not call.get("CopyImageTags"):
        return {}
    region = source.ec2_backend.region_name
    tags = ec2_tags.of(ec2_state.backend(call.account, region), source.id)
    return ec2_tags.without_reserved(tags)
