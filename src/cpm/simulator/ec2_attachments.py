"""Volumes are attached to instances and detached; moto's own code goes through here too."""

from collections.abc import Mapping
from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_block_store import EBSBackend
from moto.ec2.models.instances import Instance

from cpm.simulator import ec2_instance_view, ec2_instances, ec2_volumes
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ec2_errors import incorrect_state, invalid_value
from cpm.simulator.ec2_volumes import Attachment, Volume
from cpm.simulator.errors import AwsError
from cpm.simulator.lives import Life
from cpm.simulator.patches import replace


def install(handlers: Handlers) -> None:
    """Take over attaching and detaching, also where moto does it for an instance."""
    handlers.add("ec2", {"AttachVolume": attach_volume, "DetachVolume": detach_volume})
    replace(EBSBackend, "create_volume", _create_for_moto)
    replace(EBSBackend, "attach_volume", _attach_for_moto)
    replace(EBSBackend, "detach_volume", _detach_for_moto)
    replace(EBSBackend, "delete_volume", _delete_for_moto)


def attach(volume: Volume, instance: Instance, device: str, *, delete: bool = False) -> Attachment:
    """Put `volume` at `device`; `delete` lets it end with the instance."""
    attachment = Attachment(
        volume_id=volume.id, instance_id=instance.id, device=device, delete_on_termination=delete
    )
    volume.last_attachment = attachment
    instance.block_device_mapping[device] = attachment
    return attachment


def release_all(instance: Instance) -> None:
    """Detach every volume of an instance that ends, and delete those that end with it."""
    volumes = ec2_volumes.table(instance.ec2_backend)
    for attachment in ec2_instance_view.attachments(instance):
        volume = volumes[attachment.volume_id]
        _forget(volume, instance)
        if attachment.delete_on_termination:
            ec2_volumes.remove(volume)
    # What has left before is none of this instance's business, nor of moto's.
    instance.block_device_mapping.clear()


def attach_volume(call: Call) -> Mapping[str, Any]:
    """Attach an available volume to an instance in the same zone, at a free device."""
    volume = ec2_volumes.own(call, call.params["VolumeId"])
    instance = ec2_instances.own(call, call.params["InstanceId"])
    device = call.params["Device"]
    _check_volume(volume)
    _check_instance(instance)
    if volume.availability_zone != instance.availability_zone:
        raise AwsError(
            "InvalidVolume.ZoneMismatch",
            f"The volume '{volume.id}' is not in the same availability zone as instance "
            f"'{instance.id}'",
        )
    if any(item.device == device for item in ec2_instance_view.attachments(instance)):
        raise invalid_value(
            f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use"
        )
    attachment = attach(volume, instance, device)
    attachment.arrival = Life.of(call.config.quick_seconds)
    return {**attachment.shown(), "State": "attaching"}


def detach_volume(call: Call) -> Mapping[str, Any]:
    """Detach a volume; an instance that runs keeps its root volume."""
    volume = ec2_volumes.own(call, call.params["VolumeId"])
    attachment = volume.attachment
    if attachment is None:
        raise incorrect_state(f"Volume '{volume.id}' is in the 'available' state.")
    if call.get("InstanceId", attachment.instance_id) != attachment.instance_id:
        raise AwsError(
            "InvalidAttachment.NotFound",
            f"The volume '{volume.id}' is not attached to instance '{call.params['InstanceId']}'.",
        )
    instance = ec2_instances.own(call, attachment.instance_id)
    is_root = attachment.device == instance.root_device_name
    if is_root and ec2_instance_view.state(instance)[1] != "stopped":
        raise AwsError(
            "OperationNotPermitted",
            f"Unable to detach root volume '{volume.id}' from instance '{instance.id}'",
        )
    if attachment.departure is None:
        attachment.departure = Life.of(call.config.quick_seconds)
    return {**attachment.shown(), "State": "detaching"}


def _check_volume(volume: Volume) -> None:
    if volume.attachment is not None:
        raise AwsError("VolumeInUse", f"{volume.id} is already attached to an instance")
    if volume.status != "available":
        raise incorrect_state(f"{volume.id} is not 'available'.")


def _check_instance(instance: Instance) -> None:
    if ec2_instance_view.state(instance)[1] not in ("running", "stopped"):
        raise incorrect_state(f"Instance '{instance.id}' is not 'running'.")


def _forget(volume: Volume, instance: Instance) -> None:
    if volume.last_attachment is not None:
        instance.block_device_mapping.pop(volume.last_attachment.device, None)
        volume.last_attachment = None


def _create_for_moto(
    ec2: EC2Backend, size: int | None, zone_name: str, volume_type: str | None = None, **_: Any
) -> Volume:
    return ec2_volumes.make_blank(ec2, zone_name, size or 8, volume_type or "gp2")


def _attach_for_moto(
    ec2: EC2Backend,
    volume_id: str,
    instance_id: str,
    device_path: str,
    delete_on_termination: bool = False,
) -> Attachment:
    volume, instance = ec2_volumes.table(ec2)[volume_id], ec2_instances.find(ec2, instance_id)
    if instance is None:
        raise LookupError(instance_id)
    return attach(volume, instance, device_path, delete=delete_on_termination)


def _detach_for_moto(ec2: EC2Backend, volume_id: str, instance_id: str, _device: str) -> None:
    instance = ec2_instances.find(ec2, instance_id)
    if instance is not None:
        _forget(ec2_volumes.table(ec2)[volume_id], instance)


def _delete_for_moto(ec2: EC2Backend, volume_id: str) -> None:
    ec2_volumes.remove(ec2_volumes.table(ec2)[volume_id])
