"""CreateTags and DeleteTags: on anything the caller can see, shared things included."""

from collections.abc import Callable, Mapping
from typing import Any

from cpm.simulator import (
    ec2_image_listing,
    ec2_instances,
    ec2_snapshots,
    ec2_state,
    ec2_tags,
    ec2_volumes,
)
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.errors import AwsError


def install(handlers: Handlers) -> None:
    """Take over changes of tags."""
    handlers.add("ec2", {"CreateTags": create_tags, "DeleteTags": delete_tags})


def create_tags(call: Call) -> Mapping[str, Any]:
    """Put the same tags on several resources: on all of them, or on none."""
    ec2 = ec2_state.backend(call.account, call.region)
    tags = ec2_tags.checked(call.params["Tags"])
    for resource_id in call.params["Resources"]:
        _check_exists(call, resource_id)
        ec2_tags.check_count(ec2, resource_id, tags)
    for resource_id in call.params["Resources"]:
        ec2_tags.put(ec2, resource_id, tags)
    return {}


def delete_tags(call: Call) -> Mapping[str, Any]:
    """Take tags away by key, or by key and value; without any, all but AWS's own."""
    ec2 = ec2_state.backend(call.account, call.region)
    for resource_id in call.params["Resources"]:
        present = ec2_tags.of(ec2, resource_id)
        for key in _condemned(present, call.get("Tags")):
            del present[key]
    return {}


def _condemned(present: Mapping[str, str], wanted: Any) -> list[str]:
    if wanted is None:
        return list(ec2_tags.without_reserved(present))
    return [
        tag["Key"]
        for tag in wanted
        if tag["Key"] in present and tag.get("Value") in (None, present[tag["Key"]])
    ]


def _check_exists(call: Call, resource_id: str) -> None:
    prefix = resource_id.partition("-")[0]
    if prefix in _LOOK_UPS:
        _LOOK_UPS[prefix](call, resource_id)
    elif "-" not in resource_id:
        raise AwsError("InvalidID", f"The ID '{resource_id}' is not valid")
    else:
        ec2_state.backend(call.account, call.region).do_resources_exist([resource_id])


_LOOK_UPS: Mapping[str, Callable[[Call, str], object]] = {
    "ami": ec2_image_listing.visible,
    "i": ec2_instances.own,
    "snap": lambda call, snapshot_id: ec2_snapshots.usable(call, call.region, snapshot_id),
    "vol": ec2_volumes.own,
}
