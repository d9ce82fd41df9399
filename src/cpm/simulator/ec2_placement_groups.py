"""Placement groups: names that launches refer to."""

from collections.abc import Mapping
from typing import Any

from cpm.simulator import ec2_state
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ec2_filters import Field, matching
from cpm.simulator.errors import AwsError

_FIELDS: Mapping[str, Field[dict[str, Any]]] = {
    "group-name": lambda group: group["GroupName"],
    "state": lambda group: group["State"],
    "strategy": lambda group: group["Strategy"],
}


def install(handlers: Handlers) -> None:
    """Have placement groups, which moto lacks."""
    handlers.add(
        "ec2",
        {
            "CreatePlacementGroup": create_placement_group,
            "DeletePlacementGroup": delete_placement_group,
            "DescribePlacementGroups": describe_placement_groups,
        },
    )


def check(call: Call) -> None:
    """Raise unless the group that a launch names is there."""
    name = call.get("Placement", {}).get("GroupName")
    if name and name not in _table(call):
        raise _unknown(name)


def create_placement_group(call: Call) -> Mapping[str, Any]:
    """A group; its name is used once."""
    name = call.params["GroupName"]
    if name in _table(call):
        text = f"The Placement Group '{name}' already exists."
        raise AwsError("InvalidPlacementGroup.Duplicate", text)
    group = {
        "GroupName": name,
        "GroupId": ec2_state.new_id("pg"),
        "State": "available",
        "Strategy": call.get("Strategy", "cluster"),
        "PartitionCount": call.get("PartitionCount"),
    }
    _table(call)[name] = group
    return {"PlacementGroup": group}


def delete_placement_group(call: Call) -> Mapping[str, Any]:
    """Delete a group; the instances in it stay."""
    if _table(call).pop(call.params["GroupName"], None) is None:
        raise _unknown(call.params["GroupName"])
    return {}


def describe_placement_groups(call: Call) -> Mapping[str, Any]:
    """The caller's groups, by name or filters."""
    known = _table(call)
    names = call.get("GroupNames", list(known))
    for name in names:
        if name not in known:
            raise _unknown(name)
    groups = [known[name] for name in names]
    return {"PlacementGroups": matching(groups, call.get("Filters", []), _FIELDS, lambda _: {})}


def _unknown(name: str) -> AwsError:
    return AwsError("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")


def _table(call: Call) -> dict[str, Any]:
    return ec2_state.table(ec2_state.backend(call.account, call.region), "placement_groups")
