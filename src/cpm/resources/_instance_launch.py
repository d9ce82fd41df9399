"""The parameters of `RunInstances` for a recovered instance, all but image, volumes and tags.

What was asked for must exist, and is refused at once where it does not. What the original had is
taken over as long as it is there; where it is not, the launch goes on without it and says so.
"""

import base64

from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ec2, _instance_machine
from cpm.resources._instance_machine import Machine
from cpm.resources._instance_network import Network
from cpm.resources._launching import Launching
from cpm.resources.contract import Json, OptionRefused

_AWAY = (FaultKind.MISSING, FaultKind.LOCKED)


def parameters(launching: Launching, machine: Machine, network: Network) -> Json:
    """As the original was launched, unless asked otherwise; raises OptionRefused."""
    facts, options = launching.facts, launching.options
    if facts["is_spot"]:
        launching.note("launched on demand, where the original was a spot instance")
    chosen = {
        "MinCount": options.number_of_instances,
        "MaxCount": options.number_of_instances,
        **_instance_machine.parameters(launching, machine),
        "NetworkInterfaces": list(network.interfaces),
        # Other subnets have rules of their own for names.
        "PrivateDnsNameOptions": facts["dns_names"] if network.is_at_home else None,
        "Placement": _placement(launching),
        "KeyName": _key_pair(launching),
        "IamInstanceProfile": _profile(launching),
        "MetadataOptions": facts["metadata"],
        "MaintenanceOptions": _maintenance(facts),
        **_untold(launching),
    }
    return {name: value for name, value in chosen.items() if value not in (None, {})}


def _placement(launching: Launching) -> Json:
    placement: Json = {
        name: value for name, value in launching.facts["placement"].items() if value != "default"
    }
    group = placement.get("GroupName")
    if not group:
        return placement
    alone = {name: value for name, value in placement.items() if name == "Tenancy"}
    if launching.source.is_elsewhere or launching.options.subnet:
        launching.note(f"outside of placement group {group}, as it is launched elsewhere")
        return alone
    by_name = _ec2.filter_by("group-name", group)
    found = launching.aws.call("ec2", "DescribePlacementGroups", Filters=[by_name])
    if not found["PlacementGroups"]:
        launching.note(f"outside of placement group {group}, which does not exist any longer")
        return alone
    return placement


def _maintenance(facts: Json) -> Json | None:
    usual = (None, "default")
    chosen = facts["auto_recovery"]
    return None if chosen in usual else {"AutoRecovery": chosen}


def _key_pair(launching: Launching) -> str | None:
    asked, region = launching.options.key_pair, launching.aws.region
    if asked:
        if not _has_key_pair(launching, asked):
            text = f"{region} has no key pair {asked}"
            raise OptionRefused("key_pair", "does_not_exist", text)
        return asked
    original: str | None = launching.facts["key_name"]
    if not original:
        return None
    # The public half of the original's is on the root volume anyway.
    if launching.source.is_elsewhere:
        launching.note(f"without key pair {original}, as it is launched elsewhere")
        return None
    if not _has_key_pair(launching, original):
        launching.note(f"without key pair {original}, which does not exist any longer")
        return None
    return original


def _has_key_pair(launching: Launching, name: str) -> bool:
    by_name = _ec2.filter_by("key-name", name)
    return bool(launching.aws.call("ec2", "DescribeKeyPairs", Filters=[by_name])["KeyPairs"])


def _profile(launching: Launching) -> Json | None:
    asked, original = launching.options.iam_role, launching.facts["iam_profile_arn"]
    if asked:
        found = _found_profile(launching, asked)
        if found is None:
            text = f"there is no instance profile, and none of a role, named {asked}"
            raise OptionRefused("iam_role", "does_not_exist", text)
        return found
    if not original:
        return None
    if launching.source.is_elsewhere:
        launching.note(f"without instance profile {original}, as it is launched elsewhere")
        return None
    found = _found_profile(launching, original)
    if found is None:
        launching.note(f"without instance profile {original}, which does not exist any longer")
    return found


def _found_profile(launching: Launching, wanted: str) -> Json | None:
    """The profile of that name or ARN, or that of a role; None when there is neither."""
    is_arn = wanted.startswith("arn:")
    name = wanted.rpartition("/")[2] if is_arn else wanted
    try:
        told = _iam(launching, "GetInstanceProfile", InstanceProfileName=name)
        of_role = {} if told else _iam(launching, "ListInstanceProfilesForRole", RoleName=name)
    except Fault as fault:
        if fault.kind is not FaultKind.DENIED:
            raise
        # Who may not ask finds out at the launch.
        return {"Arn" if is_arn else "Name": wanted}
    profiles = [told["InstanceProfile"]] if told else of_role.get("InstanceProfiles", [])
    return {"Arn": profiles[0]["Arn"]} if profiles else None


def _iam(launching: Launching, operation: str, **named: str) -> Json:
    try:
        return launching.aws.call("iam", operation, **named)
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise
        return {}


def _untold(launching: Launching) -> Json:
    """What EC2 tells of one instance at a time, and not at all when it is gone."""
    options = launching.options
    told = _Told(launching)
    user_data = told.of("userData") if options.user_data is None else _encoded(options.user_data)
    behaviour = options.shutdown_behavior or told.of("instanceInitiatedShutdownBehavior")
    chosen = {
        # In base64, because it may be no text.
        "UserData": user_data,
        "InstanceInitiatedShutdownBehavior": behaviour,
        "DisableApiTermination": told.of("disableApiTermination") or None,
        "DisableApiStop": told.of("disableApiStop") or None,
    }
    if told.is_away:
        launching.note(
            f"with user data, shutdown behaviour and protection of its own, as {told.away}"
        )
    return chosen


def _encoded(user_data: str) -> str | None:
    return base64.b64encode(user_data.encode()).decode() or None


class _Told:
    """What the original says of itself, while it is there."""

    def __init__(self, launching: Launching) -> None:
        self._launching = launching
        self.is_away = launching.source.is_elsewhere

    @property
    def away(self) -> str:
        """Why it says nothing."""
        original = self._launching.source.resource_id
        return f"{original} is {'elsewhere' if self._launching.source.is_elsewhere else 'gone'}"

    def of(self, attribute: str) -> str | None:
        """One attribute; None when nothing is said."""
        if self.is_away:
            return None
        original = self._launching.source.resource_id
        try:
            answer = self._launching.aws.call(
                "ec2", "DescribeInstanceAttribute", InstanceId=original, Attribute=attribute
            )
        except Fault as fault:
            if fault.kind not in _AWAY:
                raise
            self.is_away = True
            return None
        value: str | None = answer.get(attribute[0].upper() + attribute[1:], {}).get("Value")
        return value
