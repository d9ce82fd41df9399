"""Attributes of instances: changed one at a time, some only while the instance is stopped."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

from moto.ec2.models.instances import Instance

from cpm.simulator import ec2_instance_view, ec2_instances, ec2_traits
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ec2_errors import invalid_combination, invalid_value
from cpm.simulator.errors import AwsError


def install(handlers: Handlers) -> None:
    """Take over changing attributes, and telling of CPU credits."""
    handlers.add(
        "ec2",
        {
            "ModifyInstanceAttribute": modify_instance_attribute,
            "DescribeInstanceCreditSpecifications": describe_credit_specifications,
        },
    )


def modify_instance_attribute(call: Call) -> Mapping[str, Any]:
    """Change one attribute of an instance."""
    instance = ec2_instances.own(call, call.params["InstanceId"])
    named = [name for name in _CHANGES if name in call.params]
    if "Attribute" in call.params:
        named.append(call.params["Attribute"])
    if len(named) != 1:
        raise invalid_combination("Fields for multiple attribute types specified")
    if "Attribute" in call.params:
        raise NotImplementedError("ModifyInstanceAttribute by name")
    name = named[0]
    if name in _NEEDS_STOP and ec2_instance_view.state(instance)[1] != "stopped":
        text = f"The instance '{instance.id}' is not in the 'stopped' state."
        raise AwsError("IncorrectInstanceState", text)
    _CHANGES[name](instance, call.params[name])
    return {}


def describe_credit_specifications(call: Call) -> Mapping[str, Any]:
    """How the named instances use their processors beyond their share."""
    instances = ec2_instances.several(call, call.get("InstanceIds", []))
    return {
        "InstanceCreditSpecifications": [
            {"InstanceId": each.id, "CpuCredits": ec2_traits.cpu_credits(each)}
            for each in instances
        ]
    }


def _set(name: str) -> Callable[[Instance, Any], None]:
    def change(instance: Instance, given: Mapping[str, Any]) -> None:
        setattr(instance, name, given["Value"])

    return change


def _set_user_data(instance: Instance, given: Mapping[str, Any]) -> None:
    # Kept as a launch gives it to moto.
    holder: Any = instance
    holder.user_data = base64.b64encode(given.get("Value") or b"").decode()


def _set_devices(instance: Instance, mappings: list[Mapping[str, Any]]) -> None:
    attached = {item.device: item for item in ec2_instance_view.attachments(instance)}
    for mapping in mappings:
        device = mapping.get("DeviceName", "")
        if device not in attached:
            raise AwsError(
                "InvalidInstanceAttributeValue", f"No device is currently mapped at {device}"
            )
    for mapping in mappings:
        wanted = mapping.get("Ebs", {}).get("DeleteOnTermination", True)
        attached[mapping["DeviceName"]].delete_on_termination = wanted


def _set_source_dest_check(instance: Instance, given: Mapping[str, Any]) -> None:
    if len(instance.nics) > 1:
        text = f"There are multiple interfaces attached to instance '{instance.id}'."
        raise AwsError("InvalidInstanceID", f"{text} Please specify an interface ID instead.")
    instance.nics[0].source_dest_check = given["Value"]


def _set_groups(instance: Instance, group_ids: list[str]) -> None:
    groups = [instance.ec2_backend.get_security_group_from_id(each) for each in group_ids]
    if not groups or None in groups:
        raise invalid_value("The security groups do not exist")
    instance.security_groups = []
    instance.nics[0]._group_set = groups


_CHANGES: Mapping[str, Callable[[Instance, Any], None]] = {
    "BlockDeviceMappings": _set_devices,
    "DisableApiStop": _set("disable_api_stop"),
    "DisableApiTermination": _set("disable_api_termination"),
    "EbsOptimized": _set("ebs_optimized"),
    "Groups": _set_groups,
    "InstanceInitiatedShutdownBehavior": _set("instance_initiated_shutdown_behavior"),
    "InstanceType": _set("instance_type"),
    "SourceDestCheck": _set_source_dest_check,
    "UserData": _set_user_data,
}
_NEEDS_STOP = frozenset({"EbsOptimized", "InstanceType", "UserData"})
