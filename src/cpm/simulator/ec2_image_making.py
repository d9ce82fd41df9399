"""AMIs are made of instances and of snapshots, and deregistered again."""

from collections.abc import Mapping
from typing import Any

from cpm.kernel import clock
from cpm.simulator import (
    ec2_images,
    ec2_instance_view,
    ec2_instances,
    ec2_listing,
    ec2_quotas,
    ec2_snapshots,
    ec2_state,
    ec2_tags,
    ec2_traits,
    ec2_volumes,
)
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ec2_errors import incorrect_state, invalid_combination
from cpm.simulator.ec2_images import Device, Image
from cpm.simulator.ec2_snapshot_making import snapshot_of
from cpm.simulator.ec2_volumes import Attachment, Volume
from cpm.simulator.errors import AwsError
from cpm.simulator.lives import State

_NAME_LENGTHS = range(3, 129)


def install(handlers: Handlers) -> None:
    """Take over making AMIs and taking them away."""
    handlers.add(
        "ec2",
        {
            "CreateImage": create_image,
            "RegisterImage": register_image,
            "DeregisterImage": deregister_image,
        },
    )


def create_image(call: Call) -> Mapping[str, Any]:
    """An AMI of an instance: a new snapshot of each of its volumes, and its mappings."""
    tags = ec2_tags.specified(call, "image", "snapshot")
    instance = ec2_instances.own(call, call.params["InstanceId"])
    if ec2_instance_view.state(instance)[1] not in ("running", "stopped"):
        raise incorrect_state(f"Instance '{instance.id}' is not 'running' or 'stopped'.")
    overrides = {item["DeviceName"]: item for item in call.get("BlockDeviceMappings", [])}
    check_name(call)
    attached = [
        item
        for item in ec2_instance_view.attachments(instance)
        if "NoDevice" not in overrides.get(item.device, {})
    ]
    volumes = [ec2_volumes.own(call, item.volume_id) for item in attached]
    ec2_quotas.check_new_snapshots(call, volumes)
    image_id = ec2_state.new_id("ami")
    text = f"Created by CreateImage({instance.id}) for {image_id}"
    devices = []
    for attachment, volume in zip(attached, volumes, strict=True):
        snapshot = snapshot_of(call, volume, tags["snapshot"], text, instance.id, image_id)
        device = _device_of(attachment, volume).of_snapshot(snapshot)
        devices.append(ec2_images.overridden(device, overrides.pop(attachment.device, {})))
    devices += [_new_device(call, item) for item in overrides.values() if "NoDevice" not in item]
    image = add(
        call,
        image_id,
        tags["image"],
        devices=devices,
        root_device_name=str(instance.root_device_name),
        architecture=instance.architecture,
        platform=instance.platform,
        source_instance_id=instance.id,
        traits=ec2_traits.of(instance),
    )
    return {"ImageId": image.id}


def register_image(call: Call) -> Mapping[str, Any]:
    """An AMI of snapshots that exist already."""
    tags = ec2_tags.specified(call, "image")["image"]
    check_name(call)
    root = call.get("RootDeviceName", "/dev/sda1")
    if call.get("TpmSupport") and call.get("BootMode") != "uefi":
        raise invalid_combination("TPM support needs the boot mode uefi")
    mappings = [item for item in call.get("BlockDeviceMappings", []) if "NoDevice" not in item]
    devices = [_new_device(call, item) for item in mappings]
    if not any(device.name == root and device.snapshot_id for device in devices):
        text = "No root snapshot specified in device mapping."
        raise AwsError("InvalidBlockDeviceMapping", text)
    image = add(
        call,
        ec2_state.new_id("ami"),
        tags,
        devices=devices,
        root_device_name=root,
        architecture=call.get("Architecture", "i386"),
        virtualization_type=call.get("VirtualizationType", "paravirtual"),
        traits=ec2_traits.registered(call),
    )
    image.settle(call.config)
    return {"ImageId": image.id}


def deregister_image(call: Call) -> Mapping[str, Any]:
    """Take an AMI away; its snapshots stay unless they are to go too."""
    image = ec2_images.own(call, call.params["ImageId"])
    ec2 = image.ec2_backend
    del ec2_images.table(ec2)[image.id]
    ec2_images.deregistered(ec2)[image.id] = True
    ec2_tags.drop(ec2, image.id)
    results = []
    if call.get("DeleteAssociatedSnapshots"):
        for snapshot in image.snapshots():
            used = ec2_images.users_of(ec2, snapshot.id)
            if not used:
                ec2_snapshots.remove(snapshot)
            code = "skipped" if used else "success"
            results.append({"SnapshotId": snapshot.id, "ReturnCode": code})
    return {"Return": True, "DeleteSnapshotResults": results}


def check_name(call: Call) -> None:
    """Raise unless the new AMI's name is one, and free."""
    name = call.params["Name"]
    if len(name) not in _NAME_LENGTHS:
        text = f"Invalid AMI name '{name}': it has 3 to 128 characters"
        raise AwsError("InvalidAMIName.Malformed", text)
    for image in ec2_images.table(ec2_state.backend(call.account, call.region)).values():
        if image.name == name:
            text = f"AMI name {name} is already in use by AMI {image.id}"
            raise AwsError("InvalidAMIName.Duplicate", text)


def add(call: Call, image_id: str, tags: Mapping[str, str], **facts: Any) -> Image:
    """A new AMI with the name and description of the call, in the caller's tables."""
    ec2 = ec2_state.backend(call.account, call.region)
    image = Image(
        id=image_id,
        ec2_backend=ec2,
        name=call.params["Name"],
        description=call.get("Description", ""),
        creation_date=clock.now(),
        **facts,
    )
    ec2_tags.put(ec2, image_id, tags)
    ec2_images.table(ec2)[image_id] = image
    ec2_listing.hide(ec2, image_id, call.listed_at())
    return image


def _new_device(call: Call, mapping: Mapping[str, Any]) -> Device:
    snapshot_id = mapping.get("Ebs", {}).get("SnapshotId")
    if snapshot_id is None:
        return ec2_images.device_of(mapping, None)
    snapshot = ec2_snapshots.own(call, snapshot_id)
    if snapshot.life.state is not State.DONE:
        raise incorrect_state(f"Snapshot is in invalid state - {snapshot.status}")
    return ec2_images.device_of(mapping, snapshot)


def _device_of(attachment: Attachment, volume: Volume) -> Device:
    return Device(
        name=attachment.device,
        volume_size=volume.size,
        volume_type=volume.performance.volume_type,
        iops=volume.performance.chosen_iops,
        throughput=volume.performance.throughput,
        delete_on_termination=attachment.delete_on_termination,
    )
