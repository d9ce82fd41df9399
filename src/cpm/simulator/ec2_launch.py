"""RunInstances: instances with the volumes that their image and the call ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.instances import Instance, Reservation
from moto.ec2.models.subnets import Subnet

from cpm.simulator import (
    ec2_attachments,
    ec2_image_listing,
    ec2_images,
    ec2_instance_view,
    ec2_interfaces,
    ec2_launch_checks,
    ec2_listing,
    ec2_snapshots,
    ec2_state,
    ec2_tags,
    ec2_tokens,
    ec2_traits,
    ec2_volumes,
)
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ec2_errors import invalid_value
from cpm.simulator.ec2_images import Device, Image
from cpm.simulator.ec2_snapshots import Snapshot
from cpm.simulator.errors import AwsError


@dataclass(frozen=True)
class _PlannedDevice:
    device: Device
    volume: ec2_volumes.Plan


def install(handlers: Handlers) -> None:
    """Take over RunInstances."""
    handlers.add("ec2", {"RunInstances": run_instances})


def run_instances(call: Call) -> Mapping[str, Any]:
    """Start instances; the same client token gives the same ones again."""
    known = ec2_tokens.earlier(call)
    if known is not None:
        return _answer(call, ec2_state.backend(call.account, call.region).reservations[known[0]])
    if "LaunchTemplate" in call.params:
        raise NotImplementedError("launch templates")
    tags = ec2_tags.specified(call, "instance", "volume", "network-interface")
    if "ImageId" not in call.params:
        raise AwsError("MissingParameter", "The request must contain the parameter ImageId")
    image = ec2_image_listing.usable(call, call.region, call.params["ImageId"])
    devices = _devices(call, image)
    ec2_launch_checks.check(call, image, devices)
    planned = [_planned(call, image, device) for device in devices]
    reservation = _start(call)
    for instance in reservation.instances:
        _equip(call, instance, image, planned, tags)
    ec2_tokens.remember(call, [reservation.id])
    return _answer(call, reservation)


def _answer(call: Call, reservation: Reservation) -> Mapping[str, Any]:
    shown = [
        {**ec2_instance_view.shown(instance), "State": ec2_instance_view.ordered_state(instance)}
        for instance in reservation.instances
    ]
    return {"ReservationId": reservation.id, "OwnerId": call.account, "Instances": shown}


def _devices(call: Call, image: Image) -> list[Device]:
    devices = {device.name: device for device in image.devices}
    for mapping in call.get("BlockDeviceMappings", []):
        name = mapping.get("DeviceName", "")
        snapshot_id = mapping.get("Ebs", {}).get("SnapshotId")
        if "NoDevice" in mapping:
            devices.pop(name, None)
        elif name in devices and snapshot_id in (None, devices[name].snapshot_id):
            devices[name] = ec2_images.overridden(devices[name], mapping)
        elif "Ebs" in mapping:
            snapshot = ec2_volumes.completed(call, snapshot_id) if snapshot_id else None
            if name in devices:
                size = snapshot.volume_size if snapshot else None
                ec2_launch_checks.check_override(image, devices[name], size)
            devices[name] = ec2_images.device_of(mapping, snapshot)
    return list(devices.values())


def _planned(call: Call, image: Image, device: Device) -> _PlannedDevice:
    request = {
        "VolumeSize": device.volume_size,
        "VolumeType": device.volume_type,
        "Iops": device.iops,
        "Throughput": device.throughput,
        "Encrypted": device.encrypted,
        "KmsKeyId": _kms_key_id(call, device),
    }
    source = _source(call, image, device)
    return _PlannedDevice(
        device, ec2_volumes.plan(call, request, source, "InvalidBlockDeviceMapping")
    )


def _source(call: Call, image: Image, device: Device) -> Snapshot | None:
    if device.snapshot_id is None:
        return None
    # An image opens its own snapshots to whoever may start it, shared or not.
    behind = ec2_snapshots.table(image.ec2_backend).get(device.snapshot_id)
    return behind or ec2_volumes.completed(call, device.snapshot_id)


def _kms_key_id(call: Call, device: Device) -> str | None:
    for mapping in call.get("BlockDeviceMappings", []):
        if mapping.get("DeviceName") == device.name:
            key: str | None = mapping.get("Ebs", {}).get("KmsKeyId")
            return key
    return None


def _start(call: Call) -> Reservation:
    ec2 = ec2_state.backend(call.account, call.region)
    placement = call.get("Placement", {})
    nics = call.get("NetworkInterfaces", [])
    subnet = _subnet(call, ec2)
    ec2_interfaces.reserve(call, subnet)
    group_ids = call.get("SecurityGroupIds", [])
    groups = call.get("SecurityGroups", [])
    if not nics and not group_ids and not groups:
        default = ec2.get_default_security_group(subnet.vpc_id)
        group_ids = [default.id] if default else []
    return ec2.run_instances(
        call.params["ImageId"],
        call.get("MaxCount", 1),
        call.get("UserData"),
        groups,
        instance_type=call.get("InstanceType", "m1.small"),
        is_instance_type_default="InstanceType" not in call.params,
        placement=subnet.availability_zone,
        placement_hostid=placement.get("HostId"),
        region_name=call.region,
        subnet_id=None if nics else subnet.id,
        key_name=call.get("KeyName"),
        security_group_ids=list(group_ids),
        nics=nics,
        private_ip=call.get("PrivateIpAddress"),
        associate_public_ip=None,
        ebs_optimized=call.get("EbsOptimized", False),
        disable_api_termination=call.get("DisableApiTermination", False),
        disable_api_stop=call.get("DisableApiStop", False),
        instance_initiated_shutdown_behavior=call.get("InstanceInitiatedShutdownBehavior"),
        monitoring_state="enabled" if call.get("Monitoring", {}).get("Enabled") else "disabled",
        metadata_options=call.get("MetadataOptions", {}),
        client_token=call.get("ClientToken", ""),
        block_device_mappings=[],
    )


def _subnet(call: Call, ec2: EC2Backend) -> Subnet:
    zone = call.get("Placement", {}).get("AvailabilityZone")
    if zone:
        ec2_volumes.check_zone(ec2, zone)
    nics = call.get("NetworkInterfaces", [])
    subnet_id = call.get("SubnetId") or next((n["SubnetId"] for n in nics if "SubnetId" in n), None)
    if subnet_id is None:
        defaults = ec2.get_default_subnets()
        subnet = defaults[zone or min(defaults)]
    else:
        subnet = ec2.get_subnet(subnet_id)
    if zone and subnet.availability_zone != zone:
        raise invalid_value(f"The availability zone {zone} is not the one of subnet {subnet_id}")
    ec2_interfaces.check(call, subnet)
    return subnet


def _equip(
    call: Call,
    instance: Instance,
    image: Image,
    planned: list[_PlannedDevice],
    tags: Mapping[str, Mapping[str, str]],
) -> None:
    ec2 = instance.ec2_backend
    instance.root_device_name = image.root_device_name
    instance.architecture = image.architecture
    instance.platform = image.platform
    ec2_traits.give(instance, image.traits, call)
    ec2_interfaces.equip(instance, call)
    for item in planned:
        volume = ec2_volumes.make(
            call, str(instance.availability_zone), item.volume, tags["volume"]
        )
        delete = item.device.delete_on_termination
        ec2_attachments.attach(volume, instance, item.device.name, delete=delete)
    for nic in instance.nics.values():
        ec2_tags.put(ec2, nic.id, tags["network-interface"])
    profile = call.get("IamInstanceProfile", {})
    if profile:
        association = ec2.associate_iam_instance_profile(
            instance.id, profile.get("Name"), profile.get("Arn")
        )
        instance.iam_instance_profile = association.iam_instance_profile
    ec2_tags.put(ec2, instance.id, tags["instance"])
    ec2_instance_view.move(instance, call.config.quick_seconds)
    ec2_listing.hide(ec2, instance.id, call.listed_at())
