"""The network interfaces of a recovered instance.

What was asked for must exist. What the original had is taken over as long as it exists, fits and
is free; else something sensible takes its place and a note says so. Where that would be a guess
(another network), it has to be asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_network

from cpm.resources import _ec2
from cpm.resources._launching import Launching
from cpm.resources.contract import Json, OptionRefused

# AWS keeps the first four addresses of a subnet, and the last.
_RESERVED_AT_THE_START = 4


@dataclass(frozen=True)
class Network:
    """Where an instance is launched: the elements of `NetworkInterfaces`, and the zone."""

    interfaces: Sequence[Json]
    zone: str
    # Whether that is the original's own subnet.
    is_at_home: bool


def plan(launching: Launching, most_interfaces: int) -> Network:
    """The network of the recovered instance; raises OptionRefused."""
    subnet = _subnet(launching)
    known = _Known(launching, subnet)
    first = _first(known)
    further = _further(known, most_interfaces)
    if not further:
        first |= _public(known)
    elif launching.facts["has_public_ip"]:
        launching.note("no public address, which AWS gives to what has one interface only")
    return Network([first, *further], subnet["AvailabilityZone"], known.is_at_home)


@dataclass
class _Known:
    """What there is in AWS of all that an instance's network needs, read at once."""

    launching: Launching
    subnet: Json

    @property
    def is_at_home(self) -> bool:
        """Whether it comes back to where the original was."""
        is_same = self.subnet["SubnetId"] == self.launching.facts["subnet_id"]
        return is_same and not self.launching.source.is_elsewhere

    @property
    def further(self) -> Sequence[Json]:
        """The original's interfaces beyond the first."""
        found: Sequence[Json] = self.launching.facts["further_interfaces"]
        return found

    @cached_property
    def subnets(self) -> dict[str, Json]:
        """The subnets of the further interfaces, those that exist."""
        wanted = {each["subnet_id"] for each in self.further} - {self.subnet["SubnetId"]}
        found = _subnets(self.launching, wanted) if wanted else []
        return {each["SubnetId"]: each for each in (self.subnet, *found)}

    @cached_property
    def groups(self) -> dict[str, str]:
        """The VPC of each security group, asked for or the original's, that exists."""
        wanted = set(self.launching.options.security_groups or ())
        if not self.launching.source.is_elsewhere:
            wanted |= {*self.launching.facts["security_groups"]}
            wanted |= {group for each in self.further for group in each["security_groups"]}
        if not wanted:
            return {}
        by_id = _ec2.filter_by("group-id", *sorted(wanted))
        aws = self.launching.aws
        described = aws.call("ec2", "DescribeSecurityGroups", Filters=[by_id])["SecurityGroups"]
        return {group["GroupId"]: group["VpcId"] for group in described}

    def is_taken(self, subnet_id: str, address: str) -> bool:
        """Whether something in the subnet has the address."""
        filters = [
            _ec2.filter_by("subnet-id", subnet_id),
            _ec2.filter_by("addresses.private-ip-address", address),
        ]
        aws = self.launching.aws
        found = aws.call("ec2", "DescribeNetworkInterfaces", Filters=filters)
        return bool(found["NetworkInterfaces"])


def _subnet(launching: Launching) -> Json:
    wanted = launching.options.subnet
    if wanted:
        for found in _subnets(launching, [wanted]):
            return found
        text = f"{launching.aws.region} has no subnet {wanted}"
        raise OptionRefused("subnet", "does_not_exist", text)
    if launching.source.is_elsewhere:
        return _default_subnet(launching)
    original = launching.facts["subnet_id"] or ""
    for found in _subnets(launching, [original] if original else []):
        return found
    text = f"the original's subnet {original} does not exist in {launching.aws.region}"
    raise OptionRefused("subnet", "required", f"{text}; choose another")


def _default_subnet(launching: Launching) -> Json:
    """Where AWS launches what says nothing; outsiders cannot reach its default group."""
    default = _ec2.filter_by("default-for-az", "true")
    found = launching.aws.call("ec2", "DescribeSubnets", Filters=[default])["Subnets"]
    if not found:
        text = f"{launching.aws.region} has no default network; choose a subnet"
        raise OptionRefused("subnet", "required", text)
    chosen: Json = min(found, key=lambda subnet: str(subnet["AvailabilityZone"]))
    launching.note(f"it is in default subnet {chosen['SubnetId']}, its own network is elsewhere")
    return chosen


def _subnets(launching: Launching, ids: Iterable[str]) -> list[Json]:
    by_id = _ec2.filter_by("subnet-id", *sorted(ids))
    if not by_id["Values"]:
        return []
    found: list[Json] = launching.aws.call("ec2", "DescribeSubnets", Filters=[by_id])["Subnets"]
    return found


def _first(known: _Known) -> Json:
    facts, subnet = known.launching.facts, known.subnet
    chosen = {
        "DeviceIndex": 0,
        "SubnetId": subnet["SubnetId"],
        "Groups": _groups(known),
        "PrivateIpAddress": _private_ip(known),
        "DeleteOnTermination": True,
    }
    own = _own_addresses(known, facts, subnet) if known.is_at_home else {}
    return _said(chosen | own)


def _public(known: _Known) -> Json:
    # Elsewhere the subnet's own rule says more than what the original had.
    asked = {"AssociatePublicIpAddress": known.launching.facts["has_public_ip"]}
    return asked if known.is_at_home else {}


def _further(known: _Known, most_interfaces: int) -> list[Json]:
    """The interfaces beyond the first, where the network is the original's."""
    made: list[Json] = []
    for wanted in known.further:
        problem = _problem_of_interface(known, wanted, len(made) + 1 < most_interfaces)
        if problem:
            text = f"without interface {wanted['device_index']} ({wanted['subnet_id']})"
            known.launching.note(f"{text}, {problem}")
        else:
            made.append(_interface(known, wanted))
    return made


def _problem_of_interface(known: _Known, wanted: Json, there_is_room: bool) -> str:
    if not known.is_at_home:
        return "as it is launched elsewhere"
    if wanted["subnet_id"] not in known.subnets:
        return "whose subnet does not exist any longer"
    if not set(wanted["security_groups"]) & set(known.groups):
        return "of whose security groups none exists any longer"
    return "" if there_is_room else "for which the instance type has no room"


def _interface(known: _Known, wanted: Json) -> Json:
    launching, subnet = known.launching, known.subnets[wanted["subnet_id"]]
    groups = [group for group in wanted["security_groups"] if group in known.groups]
    _note_missing_groups(launching, set(wanted["security_groups"]) - set(groups))
    chosen = {
        "DeviceIndex": wanted["device_index"],
        "SubnetId": wanted["subnet_id"],
        "Groups": groups,
        "PrivateIpAddress": _address_if_free(known, wanted["private_ip"], subnet),
        "DeleteOnTermination": True,
    }
    return _said(chosen | _own_addresses(known, wanted, subnet))


def _said(interface: Json) -> Json:
    """An interface without what there is nothing to say of; its place is always said."""
    return {name: value for name, value in interface.items() if value or name == "DeviceIndex"}


def _own_addresses(known: _Known, wanted: Json, subnet: Json) -> Json:
    """As many addresses as the original's interface had beyond its first."""
    has_ipv6 = bool(subnet.get("Ipv6CidrBlockAssociationSet"))
    if wanted["ipv6_count"] and not has_ipv6:
        known.launching.note(f"without IPv6 addresses, which {subnet['SubnetId']} no longer has")
    return {
        "Description": wanted["description"],
        "SecondaryPrivateIpAddressCount": wanted["further_ips"],
        "Ipv6AddressCount": wanted["ipv6_count"] if has_ipv6 else 0,
    }


def _groups(known: _Known) -> list[str]:
    asked = known.launching.options.security_groups
    if asked:
        _check_groups(asked, known)
        return list(asked)
    launching, vpc_id = known.launching, known.subnet["VpcId"]
    if launching.source.is_elsewhere:
        return []
    original = launching.facts["security_groups"]
    if vpc_id != launching.facts["vpc_id"]:
        launching.note("in the default security group, as it is in another VPC")
        return []
    left = [group for group in original if group in known.groups]
    _note_missing_groups(launching, set(original) - set(left))
    if original and not left:
        # AWS takes the default group of the VPC, which lets nobody in from outside.
        launching.note("in the default security group, as none of its own is left")
    return left


def _note_missing_groups(launching: Launching, missing: Iterable[str]) -> None:
    # Groups only ever allow, so that fewer of them open nothing.
    for group in sorted(missing):
        launching.note(f"without security group {group}, which does not exist any longer")


def _check_groups(asked: Sequence[str], known: _Known) -> None:
    missing = [group for group in asked if group not in known.groups]
    if missing:
        text = f"there is no security group {', '.join(missing)}"
        raise OptionRefused("security_groups", "does_not_exist", text)
    strangers = [group for group in asked if known.groups[group] != known.subnet["VpcId"]]
    if strangers:
        text = f"not in the VPC of subnet {known.subnet['SubnetId']}: {', '.join(strangers)}"
        raise OptionRefused("security_groups", "invalid", text)


def _private_ip(known: _Known) -> str | None:
    wanted = known.launching.options.vpc_assign_ip
    if wanted:
        problem = _problem_of_address(known, wanted, known.subnet)
        if problem:
            raise OptionRefused("vpc_assign_ip", "invalid", problem)
        return wanted
    original: str | None = known.launching.facts["private_ip"]
    return _address_if_free(known, original, known.subnet)


def _address_if_free(known: _Known, address: str | None, subnet: Json) -> str | None:
    if not address or known.launching.source.is_elsewhere:
        return None
    problem = _problem_of_address(known, address, subnet)
    if problem and known.is_at_home:
        known.launching.note(f"another private address, as {problem}")
    return None if problem else address


def _problem_of_address(known: _Known, address: str, subnet: Json) -> str:
    if known.launching.options.number_of_instances > 1:
        return f"several instances cannot have {address}"
    subnet_id, block = subnet["SubnetId"], ip_network(subnet["CidrBlock"])
    try:
        parsed = ip_address(address)
    except ValueError:
        return f"{address} is no IP address"
    if parsed not in block:
        return f"{address} is outside of {subnet_id} ({block})"
    place = int(parsed) - int(block.network_address)
    if not _RESERVED_AT_THE_START <= place < block.num_addresses - 1:
        return f"AWS keeps {address} of {subnet_id} for itself"
    return f"{address} is taken" if known.is_taken(subnet_id, address) else ""
