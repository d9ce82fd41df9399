"""What is changed of launched instances, because no launch can be asked for it, or not yet."""

import base64
from collections.abc import Iterator, Sequence

from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ec2
from cpm.resources.contract import Ask, Effect, Json, Refs

_NOT_MAPPED = "InvalidInstanceAttributeValue"


def put_off(parameters: Json, facts: Json, *, stops: bool) -> Json:
    """Take out of a launch's parameters what has to wait; the spec of `adjust_instances`, or {}.

    An instance that may not be stopped could not be left stopped.
    """
    attributes = [{"DisableApiStop": {"Value": True}}] if stops and _pop_stop(parameters) else []
    by_index = {0: facts, **{each["device_index"]: each for each in facts["further_interfaces"]}}
    launched = [each["DeviceIndex"] for each in parameters["NetworkInterfaces"]]
    unchecked = [index for index in launched if not by_index[index]["checks_source"]]
    return {"attributes": attributes, "unchecked": unchecked} if attributes or unchecked else {}


def meant(ask: Ask) -> Sequence[str]:
    """The launched instances that a step is about: the one it names, else all."""
    launched = ask.earlier["run"]
    return [launched[ask.spec["instance"]]] if "instance" in ask.spec else list(launched.values())


def _pop_stop(parameters: Json) -> bool:
    return bool(parameters.pop("DisableApiStop", False))


def _modify(aws: Aws, ask: Ask) -> Refs:
    for instance_id in meant(ask):
        for attribute in ask.spec["attributes"]:
            changed = {name: _value(name, value) for name, value in attribute.items()}
            _change(aws, instance_id, changed)
    return {}


def _change(aws: Aws, instance_id: str, changed: Json) -> None:
    try:
        aws.call("ec2", "ModifyInstanceAttribute", InstanceId=instance_id, **changed)
    except Fault as fault:
        if fault.code != _NOT_MAPPED:
            raise
        # The instance does not know yet of a volume that says it is attached to it.
        raise Fault(
            FaultKind.LOCKED, fault.message, operation=fault.operation, code=fault.code
        ) from None


def _value(name: str, value: Json) -> Json:
    # Kept as base64 because it may be no text; the SDK encodes it again.
    return {"Value": base64.b64decode(value["Value"])} if name == "UserData" else value


def _adjust(aws: Aws, ask: Ask) -> Refs:
    _modify(aws, ask)
    if ask.spec["unchecked"]:
        for interface_id in _interfaces(aws, meant(ask), ask.spec["unchecked"]):
            aws.call(
                "ec2",
                "ModifyNetworkInterfaceAttribute",
                NetworkInterfaceId=interface_id,
                SourceDestCheck={"Value": False},
            )
    return {}


def _interfaces(aws: Aws, instance_ids: Sequence[str], indexes: Sequence[int]) -> Iterator[str]:
    for instance in _ec2.instances(aws, instance_ids):
        for interface in instance.get("NetworkInterfaces", ()):
            if interface["Attachment"]["DeviceIndex"] in indexes:
                yield interface["NetworkInterfaceId"]


MODIFY = Effect(
    name="modify_instances",
    operation="ec2:ModifyInstanceAttribute",
    permissions=("ec2:ModifyInstanceAttribute",),
    start=_modify,
)
ADJUST = Effect(
    name="adjust_instances",
    operation="ec2:ModifyInstanceAttribute",
    permissions=(
        "ec2:DescribeInstances",
        "ec2:ModifyInstanceAttribute",
        "ec2:ModifyNetworkInterfaceAttribute",
    ),
    start=_adjust,
    tidies_up=True,
)
