"""The tags that the server puts on whatever it makes, and AWS's rules for tags."""

from collections.abc import Iterable, Mapping
from typing import Any

Tags = Mapping[str, str]

SERVER_ID = "cpm_server_id"
POLICY_NAME = "cpm_policy_name"
BACKUP_ID = "cpm_backup_id"
TOKEN = "cpm_token"  # noqa: S105 - a name, no secret
EXPIRED = "cpm_expired"
OWN = frozenset({SERVER_ID, POLICY_NAME, BACKUP_ID, TOKEN, EXPIRED})

MOST_TAGS = 50
LONGEST_KEY = 128
LONGEST_VALUE = 256
_RESERVED = "aws:"


def from_aws(listed: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """Tags as a mapping, from AWS's list of `Key` and `Value`."""
    return {item["Key"]: item.get("Value") or "" for item in listed or ()}


def to_aws(tags: Tags) -> list[dict[str, str]]:
    """Tags as AWS lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def specification(resource_type: str, tags: Tags) -> dict[str, Any]:
    """One element of `TagSpecifications`, for calls that tag what they make."""
    return {"ResourceType": resource_type, "Tags": to_aws(tags)}


def of_resource(tags: Tags) -> dict[str, str]:
    """The tags of a resource that may go on something made from it: its owner's alone."""
    return {
        key: value
        for key, value in tags.items()
        if key not in OWN and not key.lower().startswith(_RESERVED)
    }


def merged(ours: Tags, theirs: Tags) -> dict[str, str]:
    """`ours`, then as many of the resource's as AWS has room for; its name goes first."""
    result = dict(ours)
    room = MOST_TAGS - len(result)
    others = [key for key in of_resource(theirs) if key not in result]
    others.sort(key=lambda key: key != "Name")
    result.update((key, theirs[key]) for key in others[:room])
    return result


def can_be_copied_by_aws(theirs: Tags) -> bool:
    """Whether AWS itself may add a resource's tags to ours: none is named twice, all fit."""
    copied = [key for key in theirs if not key.lower().startswith(_RESERVED)]
    return not OWN.intersection(copied) and len(copied) + len(OWN) <= MOST_TAGS


def problem(key: str, value: str) -> str | None:
    """Why AWS would refuse the tag; None when it would not."""
    if not key or len(key) > LONGEST_KEY:
        return f"a tag's key has 1 to {LONGEST_KEY} characters"
    if len(value) > LONGEST_VALUE:
        return f"the value of tag {key} has more than {LONGEST_VALUE} characters"
    if key.lower().startswith(_RESERVED):
        return f"tag {key}: keys that begin with {_RESERVED} are AWS's own"
    if key in OWN:
        return f"tag {key} is set by the server"
    if not (key + value).isprintable():
        return f"tag {key} has a character that cannot be shown"
    return None
