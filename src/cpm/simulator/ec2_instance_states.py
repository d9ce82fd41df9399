"""Instances are started, stopped and terminated; each order shows its state on the way."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from moto.ec2.models.instances import Instance

from cpm.simulator import (
    ec2_attachments,
    ec2_instance_view,
    ec2_instances,
    ec2_interfaces,
)
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.errors import AwsError


def install(handlers: Handlers) -> None:
    """Take over the orders that change an instance's state."""
    handlers.add(
        "ec2",
        {
            "StartInstances": start_instances,
            "StopInstances": stop_instances,
            "TerminateInstances": terminate_instances,
        },
    )


def start_instances(call: Call) -> Mapping[str, Any]:
    """Start stopped instances."""
    refused = ("stopping", "shutting-down", "terminated")
    return {"StartingInstances": _order(call, "running", refused, lambda item: item.start())}


def stop_instances(call: Call) -> Mapping[str, Any]:
    """Stop running instances."""
    refused = ("pending", "shutting-down", "terminated")
    return {"StoppingInstances": _order(call, "stopped", refused, lambda item: item.stop())}


def terminate_instances(call: Call) -> Mapping[str, Any]:
    """End instances for good; volumes go with them when they are to."""
    return {"TerminatingInstances": _order(call, "terminated", (), _terminate)}


def _order(
    call: Call, goal: str, refused: Iterable[str], carry_out: Callable[[Instance], object]
) -> list[Mapping[str, Any]]:
    instances = ec2_instances.several(call, call.params["InstanceIds"])
    for instance in instances:
        _check(instance, goal, refused)
    return [_change(call, instance, goal, carry_out) for instance in instances]


def _check(instance: Instance, goal: str, refused: Iterable[str]) -> None:
    if ec2_instance_view.state(instance)[1] in refused:
        raise AwsError(
            "IncorrectInstanceState",
            f"The instance '{instance.id}' is not in a state from which it can be {goal}.",
        )
    if goal == "terminated" and instance.disable_api_termination:
        raise _protected(instance, "terminated", "disableApiTermination")
    if goal == "stopped" and instance.disable_api_stop:
        raise _protected(instance, "stopped", "disableApiStop")


def _protected(instance: Instance, goal: str, attribute: str) -> AwsError:
    return AwsError(
        "OperationNotPermitted",
        f"The instance '{instance.id}' may not be {goal}. Modify its '{attribute}' instance "
        "attribute and try again.",
    )


def _change(
    call: Call, instance: Instance, goal: str, carry_out: Callable[[Instance], object]
) -> Mapping[str, Any]:
    before = after = ec2_instance_view.shown_state(instance)
    if instance.state != goal:
        carry_out(instance)
        ec2_instance_view.move(instance, call.config.quick_seconds)
        after = ec2_instance_view.ordered_state(instance)
    return {"InstanceId": instance.id, "PreviousState": before, "CurrentState": after}


def _terminate(instance: Instance) -> None:
    ec2_attachments.release_all(instance)
    ec2_interfaces.release(instance)
    instance.terminate()
