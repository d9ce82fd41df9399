"""The document `AWSEC2-CreateVssSnapshot`: snapshots of an instance that Windows knows of."""

import re
from collections.abc import Mapping
from typing import Any

from cpm.simulator import ec2_instance_view, ec2_snapshot_making, ec2_state, ec2_volumes
from cpm.simulator.calls import Call

DOCUMENT = "AWSEC2-CreateVssSnapshot"
# The name of its step, for those who ask what that wrote.
STEP = "CreateVssSnapshot"
_RESERVED = frozenset({"Device", "AppConsistent", "AwsVssConfig"})
_TAG = re.compile(r"Key=([\w() ./\\\-\"'@+:={}]+),Value=([\w() ./\\\-\"'@+:={}]*)")


class BadTags(ValueError):
    """Tags that the document does not take; the text says which."""


def make(call: Call, instance_id: str, *, succeeds: bool) -> None:
    """Make the snapshots; when it does not succeed they lack the tag that says so.

    Raises BadTags.
    """
    parameters: Mapping[str, list[str]] = call.get("Parameters", {})
    tags = _tags(_only(parameters, "tags"))
    ec2 = ec2_state.backend(call.account, call.region)
    instance: Any = ec2.get_instance_by_id(instance_id)
    without_root = _only(parameters, "ExcludeBootVolume") == "True"
    for attached in ec2_instance_view.attachments(instance):
        if without_root and attached.device == instance.root_device_name:
            continue
        own = {"Device": attached.device, **({"AppConsistent": "True"} if succeeds else {})}
        volume = ec2_volumes.own(call, attached.volume_id)
        description = _only(parameters, "description")
        ec2_snapshot_making.snapshot_of(call, volume, tags | own, description, instance_id)


def _only(parameters: Mapping[str, list[str]], name: str) -> str:
    return next(iter(parameters.get(name, [])), "")


def _tags(text: str) -> dict[str, str]:
    tags = {}
    for part in filter(None, text.split(";")):
        found = _TAG.fullmatch(part)
        if found is None or found[1] in _RESERVED:
            raise BadTags(f"{part} is no tag that can be given")
        tags[found[1]] = found[2]
    return tags
