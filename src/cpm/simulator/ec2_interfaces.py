"""Network interfaces of instances: their addresses, groups and how they are shown."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Network, ip_address
from typing import Any

from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance
from moto.ec2.models.subnets import Subnet

from cpm.simulator.calls import Call
from cpm.simulator.ec2_errors import invalid_combination, invalid_value
from cpm.simulator.ec2_traits import instance_type
from cpm.simulator.errors import AwsError

# AWS keeps the first four addresses of a subnet, and the last.
_RESERVED_AT_THE_START = 4


def check(call: Call, primary: Subnet) -> None:
    """Raise unless the launch's interfaces and addresses can be had."""
    specified = call.get("NetworkInterfaces", [])
    if not specified:
        _check_addresses(call, primary, _addresses(call.params))
        return
    if any(call.get(name) for name in ("SubnetId", "SecurityGroupIds", "SecurityGroups")):
        text = "Network interfaces and an instance-level subnet or security groups may not be"
        raise invalid_combination(f"{text} specified on the same request")
    if len(specified) > 1 and any("AssociatePublicIpAddress" in each for each in specified):
        text = "The associatePublicIPAddress parameter cannot be specified when launching with"
        raise invalid_combination(f"{text} multiple network interfaces.")
    _check_number(call, len(specified))
    for each in specified:
        _check_one(call, primary, each)


def reserve(call: Call, primary: Subnet) -> None:
    """Keep the addresses of further interfaces from being given to the first."""
    nobody_yet: Any = None
    for each in call.get("NetworkInterfaces", []):
        if each.get("DeviceIndex", 0) and "PrivateIpAddress" in each:
            subnet_id = each.get("SubnetId")
            subnet = primary.ec2_backend.get_subnet(subnet_id) if subnet_id else primary
            subnet.request_ip(each["PrivateIpAddress"], nobody_yet)


def equip(instance: Instance, call: Call) -> None:
    """Give the interfaces of a new instance what moto leaves out."""
    specified = {each.get("DeviceIndex", 0): each for each in call.get("NetworkInterfaces", [])}
    for index, nic in instance.nics.items():
        wanted = specified.get(index, {})
        nic.delete_on_termination = wanted.get("DeleteOnTermination", True)
        if index and "PrivateIpAddress" not in wanted:
            _readdress(nic, nic.subnet.get_available_subnet_ip(instance))
        for _ in range(wanted.get("SecondaryPrivateIpAddressCount", 0)):
            address = nic.subnet.get_available_subnet_ip(instance)
            nic.private_ip_addresses.append({"Primary": False, "PrivateIpAddress": address})
        nic.ipv6_addresses = list(_ipv6(nic.subnet, wanted))


def release(instance: Instance) -> None:
    """Let go of the interfaces that outlive their instance; moto deletes the others with it."""
    for nic in instance.nics.values():
        if not nic.delete_on_termination:
            nic.instance, nic.attachment_id, nic.status = None, None, "available"


def groups(nic: NetworkInterface) -> list[dict[str, str]]:
    """The security groups of an interface, as they are shown."""
    return [{"GroupId": item.id, "GroupName": item.name} for item in nic.group_set]


def shown(nic: NetworkInterface) -> Mapping[str, Any]:
    """An interface as DescribeInstances shows it."""
    association = _association(nic)
    return {
        "NetworkInterfaceId": nic.id,
        "SubnetId": nic.subnet.id,
        "VpcId": nic.subnet.vpc_id,
        "OwnerId": nic.ec2_backend.account_id,
        "Description": nic.description,
        "Status": "in-use",
        "InterfaceType": "interface",
        "MacAddress": nic.mac_address,
        "PrivateIpAddress": nic.private_ip_address,
        "SourceDestCheck": nic.source_dest_check,
        "Groups": groups(nic),
        "Association": association,
        "Attachment": {
            "AttachmentId": nic.attachment_id,
            "DeviceIndex": nic.device_index,
            "NetworkCardIndex": 0,
            "Status": "attached",
            "AttachTime": nic.attach_time,
            "DeleteOnTermination": bool(nic.delete_on_termination),
        },
        "PrivateIpAddresses": [
            {
                "PrivateIpAddress": each["PrivateIpAddress"],
                "Primary": each.get("Primary", False),
                "Association": association if each.get("Primary") else None,
            }
            for each in nic.private_ip_addresses
        ],
        "Ipv6Addresses": [{"Ipv6Address": each} for each in nic.ipv6_addresses],
    }


def _association(nic: NetworkInterface) -> Mapping[str, Any] | None:
    if not nic.public_ip:
        return None
    is_elastic = nic.public_ip in {each.public_ip for each in nic.ec2_backend.addresses}
    return {
        "IpOwnerId": nic.ec2_backend.account_id if is_elastic else "amazon",
        "PublicIp": nic.public_ip,
        "PublicDnsName": f"ec2-{nic.public_ip.replace('.', '-')}.amazonaws.com",
    }


def _check_number(call: Call, number: int) -> None:
    known = instance_type(call.get("InstanceType", "m1.small")).get("NetworkInfo", {})
    most = known.get("MaximumNetworkInterfaces", number)
    if number > most:
        text = f"Interface count {number} exceeds the limit for {call.get('InstanceType')}"
        raise AwsError("AttachmentLimitExceeded", text)


def _check_one(call: Call, primary: Subnet, specified: Mapping[str, Any]) -> None:
    subnet_id = specified.get("SubnetId")
    subnet = primary.ec2_backend.get_subnet(subnet_id) if subnet_id else primary
    if subnet.availability_zone != primary.availability_zone:
        raise invalid_value("All network interfaces must be in one availability zone")
    _check_groups(subnet, specified.get("Groups", []))
    _check_addresses(call, subnet, _addresses(specified))
    count = call.get("MaxCount", 1)
    if count > 1 and specified.get("Ipv6Addresses"):
        raise invalid_combination("IPv6 addresses may not be specified for multiple instances")
    asks_for_ipv6 = specified.get("Ipv6AddressCount") or specified.get("Ipv6Addresses")
    if asks_for_ipv6 and _ipv6_network(subnet) is None:
        raise invalid_value(f"Subnet {subnet.id} does not contain any IPv6 CIDR block ranges")


def _check_groups(subnet: Subnet, group_ids: Iterable[str]) -> None:
    for group_id in group_ids:
        group = subnet.ec2_backend.get_security_group_from_id(group_id)
        if group is None:
            text = f"The security group '{group_id}' does not exist"
            raise AwsError("InvalidGroup.NotFound", text)
        if group.vpc_id != subnet.vpc_id:
            text = f"Security group {group_id} and subnet {subnet.id} belong to different networks."
            raise AwsError("InvalidParameter", text)


def _addresses(specified: Mapping[str, Any]) -> list[str]:
    alone = [specified["PrivateIpAddress"]] if "PrivateIpAddress" in specified else []
    listed = [each["PrivateIpAddress"] for each in specified.get("PrivateIpAddresses", [])]
    return alone + listed


def _check_addresses(call: Call, subnet: Subnet, addresses: Iterable[str]) -> None:
    for address in addresses:
        if ip_address(address) not in subnet.cidr:
            text = f"Address {address} does not fall within the subnet's address range"
            raise invalid_value(text)
        if _is_reserved(subnet, address):
            raise invalid_value(f"Address {address} is in subnet's reserved address range")
        if address in subnet._subnet_ips:
            raise AwsError("InvalidIPAddress.InUse", f"Address {address} is in use.")
        if call.get("MaxCount", 1) > 1:
            text = "A private IP address may not be specified for multiple instances"
            raise invalid_combination(text)


def _is_reserved(subnet: Subnet, address: str) -> bool:
    first = int(ip_address(address)) - int(subnet.cidr.network_address)
    return first < _RESERVED_AT_THE_START or ip_address(address) == subnet.cidr.broadcast_address


def _readdress(nic: NetworkInterface, address: str) -> None:
    nic.private_ip_address = address
    nic.private_ip_addresses = [{"Primary": True, "PrivateIpAddress": address}]


def _ipv6(subnet: Subnet, specified: Mapping[str, Any]) -> Iterable[str]:
    yield from (each["Ipv6Address"] for each in specified.get("Ipv6Addresses", []))
    network = _ipv6_network(subnet)
    if network is None:
        return
    taken = {address for nic in subnet.ec2_backend.enis.values() for address in nic.ipv6_addresses}
    for _ in range(specified.get("Ipv6AddressCount", 0)):
        free = (str(each) for each in network.hosts() if str(each) not in taken)
        address = next(free)
        taken.add(address)
        yield address


def _ipv6_network(subnet: Subnet) -> IPv6Network | None:
    blocks = [
        each["ipv6CidrBlock"]
        for each in subnet.ipv6_cidr_block_associations.values()
        if each["ipv6CidrBlockState"]["State"] == "associated"
    ]
    return IPv6Network(blocks[0], strict=False) if blocks else None
