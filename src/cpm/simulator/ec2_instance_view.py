"""How an instance looks in answers and to filters; the state it shows lags behind its orders."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from moto.ec2.models.instances import Instance

from cpm.kernel import clock
from cpm.simulator import ec2_interfaces, ec2_tags, ec2_traits
from cpm.simulator.ec2_filters import Field
from cpm.simulator.ec2_volumes import Attachment

# What an instance shows on its way to the state that moto has put it in already.
_ON_THE_WAY = {
    "running": (0, "pending"),
    "stopped": (64, "stopping"),
    "terminated": (32, "shutting-down"),
}


def move(instance: Instance, seconds: float) -> None:
    """Show the state on the way for `seconds` from now."""
    holder: Any = instance
    holder.moving_until = clock.now() + timedelta(seconds=seconds)


def state(instance: Instance) -> tuple[int, str]:
    """Code and name of the state by now."""
    moving_until: datetime | None = getattr(instance, "moving_until", None)
    if moving_until is not None and clock.now() < moving_until:
        return _ON_THE_WAY[instance.state]
    return instance.state_code, instance.state


def ordered_state(instance: Instance) -> Mapping[str, Any]:
    """The state on the way, which is what AWS answers to every order."""
    code, name = _ON_THE_WAY[instance.state]
    return {"Code": code, "Name": name}


def shown_state(instance: Instance) -> Mapping[str, Any]:
    """The state by now, as answers show it."""
    code, name = state(instance)
    return {"Code": code, "Name": name}


def attachments(instance: Instance) -> list[Attachment]:
    """The instance's volumes by device, the root device first."""
    mapping: Mapping[str, Attachment] = instance.block_device_mapping
    root = instance.root_device_name
    held = [item for item in mapping.values() if not item.is_over]
    return sorted(held, key=lambda item: (item.device != root, item.device))


def shown(instance: Instance) -> dict[str, Any]:
    """The instance as DescribeInstances shows it."""
    terminated = instance.state == "terminated"
    return {
        "InstanceId": instance.id,
        "ImageId": instance.image_id,
        "State": shown_state(instance),
        "PrivateDnsName": "" if terminated else instance.private_dns_name,
        "PublicDnsName": instance.public_dns_name or "",
        "StateTransitionReason": instance._reason,
        "StateReason": _reason(instance),
        "KeyName": instance.key_name or None,
        "AmiLaunchIndex": instance.ami_launch_index,
        "InstanceType": instance.instance_type,
        "LaunchTime": instance.launch_time,
        "Placement": ec2_traits.placement(instance),
        "Platform": instance.platform if instance.platform == "windows" else None,
        "Monitoring": {"State": instance.monitoring_state},
        "Architecture": instance.architecture,
        "RootDeviceType": "ebs",
        "RootDeviceName": instance.root_device_name,
        "BlockDeviceMappings": [_mapping(item) for item in attachments(instance)],
        "VirtualizationType": "hvm",
        "ClientToken": instance.client_token or "",
        "EbsOptimized": bool(instance.ebs_optimized),
        "Hypervisor": "xen",
        "IamInstanceProfile": _profile(instance),
        "Tags": ec2_tags.shown(instance.ec2_backend, instance.id) or None,
        **ec2_traits.shown(instance),
        **({} if terminated else _network(instance)),
    }


def _mapping(item: Attachment) -> Mapping[str, Any]:
    return {
        "DeviceName": item.device,
        "Ebs": {
            "VolumeId": item.volume_id,
            "Status": item.status,
            "AttachTime": item.attach_time,
            "DeleteOnTermination": item.delete_on_termination,
        },
    }


def _profile(instance: Instance) -> Mapping[str, Any] | None:
    profile = instance.iam_instance_profile
    return {"Arn": profile.arn, "Id": profile.id} if profile else None


def _reason(instance: Instance) -> Mapping[str, Any] | None:
    reason = instance.state_reason
    return {"Code": reason.code, "Message": reason.message} if reason.code else None


def _network(instance: Instance) -> Mapping[str, Any]:
    primary = instance.nics[0]
    return {
        "SubnetId": instance.subnet_id,
        "VpcId": instance.vpc_id,
        "PrivateIpAddress": instance.private_ip_address,
        "PublicIpAddress": instance.public_ip_address,
        "Ipv6Address": next(iter(primary.ipv6_addresses), None),
        "SourceDestCheck": primary.source_dest_check,
        "SecurityGroups": ec2_interfaces.groups(primary),
        "NetworkInterfaces": [ec2_interfaces.shown(nic) for nic in instance.nics.values()],
    }


FIELDS: Mapping[str, Field[Instance]] = {
    "architecture": lambda instance: instance.architecture,
    "availability-zone": lambda instance: instance.availability_zone,
    "block-device-mapping.attach-time": lambda instance: [
        item.attach_time for item in attachments(instance)
    ],
    "block-device-mapping.delete-on-termination": lambda instance: [
        item.delete_on_termination for item in attachments(instance)
    ],
    "block-device-mapping.device-name": lambda instance: [
        item.device for item in attachments(instance)
    ],
    "block-device-mapping.status": lambda instance: [item.status for item in attachments(instance)],
    "block-device-mapping.volume-id": lambda instance: [
        item.volume_id for item in attachments(instance)
    ],
    "client-token": lambda instance: instance.client_token,
    "dns-name": lambda instance: instance.public_dns_name,
    "hypervisor": lambda _: "xen",
    "iam-instance-profile.arn": lambda instance: (
        instance.iam_instance_profile.arn if instance.iam_instance_profile else None
    ),
    "image-id": lambda instance: instance.image_id,
    "instance-id": lambda instance: instance.id,
    "instance-lifecycle": lambda instance: instance.lifecycle,
    "instance-state-code": lambda instance: state(instance)[0],
    "instance-state-name": lambda instance: state(instance)[1],
    "instance-type": lambda instance: instance.instance_type,
    "instance.group-id": lambda instance: [
        group["GroupId"] for group in ec2_interfaces.groups(instance.nics[0])
    ],
    "instance.group-name": lambda instance: [
        group["GroupName"] for group in ec2_interfaces.groups(instance.nics[0])
    ],
    "ip-address": lambda instance: instance.public_ip_address,
    "key-name": lambda instance: instance.key_name,
    "launch-index": lambda instance: instance.ami_launch_index,
    "launch-time": lambda instance: instance.launch_time,
    "monitoring-state": lambda instance: instance.monitoring_state,
    "network-interface.network-interface-id": lambda instance: [
        nic.id for nic in instance.nics.values()
    ],
    "owner-id": lambda instance: instance.owner_id,
    "platform": lambda instance: instance.platform,
    "private-dns-name": lambda instance: instance.private_dns_name,
    "private-ip-address": lambda instance: instance.private_ip_address,
    "root-device-name": lambda instance: instance.root_device_name,
    "root-device-type": lambda _: "ebs",
    "subnet-id": lambda instance: instance.subnet_id,
    "tenancy": lambda instance: ec2_traits.placement(instance)["Tenancy"],
    "virtualization-type": lambda _: "hvm",
    "vpc-id": lambda instance: instance.vpc_id,
}
