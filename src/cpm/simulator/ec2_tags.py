"""EC2's tags: kept in moto's table by resource id, looked up at once, listed in pages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

from cpm.simulator import ec2_listing, ec2_state
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ec2_errors import invalid_value
from cpm.simulator.ec2_filters import Field, matching
from cpm.simulator.ec2_paging import page
from cpm.simulator.errors import AwsError
from cpm.simulator.patches import replace

_MOST_TAGS = 50
_LONGEST_KEY = 128
_LONGEST_VALUE = 256


def install(handlers: Handlers) -> None:
    """List tags in pages; look a resource's tags up instead of searching all tags for them."""
    handlers.add("ec2", {"DescribeTags": describe_tags})
    replace(TaggedEC2Resource, "get_tags", _get_tags)


def of(ec2: EC2Backend, resource_id: str) -> dict[str, str]:
    """The tags of one resource."""
    return ec2.tags.get(resource_id) or {}


def shown(ec2: EC2Backend, resource_id: str) -> list[Mapping[str, str]]:
    """The tags of one resource as the API lists them."""
    return [{"Key": key, "Value": value} for key, value in of(ec2, resource_id).items()]


def put(ec2: EC2Backend, resource_id: str, tags: Mapping[str, str]) -> None:
    """Tag a resource; raises AwsError when there would be too many or one is not a tag."""
    if tags:
        check_count(ec2, resource_id, tags)
        ec2.tags[resource_id].update(tags)


def check_count(ec2: EC2Backend, resource_id: str, tags: Mapping[str, str]) -> None:
    """Raise TagLimitExceeded when these would be too many on the resource."""
    if len(without_reserved({**of(ec2, resource_id), **tags})) > _MOST_TAGS:
        raise AwsError("TagLimitExceeded", "The maximum number of Tags for a resource was reached.")


def drop(ec2: EC2Backend, resource_id: str) -> None:
    """Forget the tags of a resource that is gone."""
    ec2.tags.pop(resource_id, None)


def specified(call: Call, *resource_types: str) -> dict[str, dict[str, str]]:
    """The tags that the call asks for, by resource type; other types than these are refused."""
    found: dict[str, dict[str, str]] = {resource_type: {} for resource_type in resource_types}
    for item in call.get("TagSpecifications", []):
        resource_type = item.get("ResourceType", "")
        if resource_type not in found:
            raise invalid_value(
                f"'{resource_type}' is not a valid taggable resource type for this operation."
            )
        found[resource_type].update(checked(item.get("Tags", [])))
    return found


def without_reserved(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that may be copied to another resource: AWS's own stay behind."""
    return {key: value for key, value in tags.items() if not key.startswith("aws:")}


def checked(tags: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """A list of tags as a dictionary; raises AwsError when one cannot be."""
    found: dict[str, str] = {}
    for tag in tags:
        key, value = str(tag.get("Key", "")), str(tag.get("Value", ""))
        if not 1 <= len(key) <= _LONGEST_KEY:
            raise invalid_value("Tag key exceeds the maximum length of 128 characters")
        if len(value) > _LONGEST_VALUE:
            raise invalid_value("Tag value exceeds the maximum length of 256 characters")
        if key.lower().startswith("aws:"):
            raise invalid_value("Tag keys starting with 'aws:' are reserved for internal use")
        found[key] = value
    return found


@dataclass(frozen=True)
class _Tag:
    resource_id: str
    key: str
    value: str

    @property
    def resource_type(self) -> str:
        return EC2_PREFIX_TO_RESOURCE.get(get_prefix(self.resource_id), "")


_FIELDS: Mapping[str, Field[_Tag]] = {
    "key": lambda tag: tag.key,
    "value": lambda tag: tag.value,
    "resource-id": lambda tag: tag.resource_id,
    "resource-type": lambda tag: tag.resource_type,
}


def describe_tags(call: Call) -> Mapping[str, Any]:
    """The tags of everything in the region that is listed yet."""
    ec2 = ec2_state.backend(call.account, call.region)
    everything = (
        _Tag(resource_id, key, value)
        for resource_id, tags in ec2.tags.items()
        if ec2_listing.is_listed(ec2, resource_id)
        for key, value in tags.items()
    )
    found = matching(everything, call.get("Filters", []), _FIELDS, lambda tag: {tag.key: tag.value})
    tags, token = page(call, found, lambda tag: f"{tag.resource_id}/{tag.key}")
    return {
        "NextToken": token,
        "Tags": [
            {
                "ResourceId": tag.resource_id,
                "ResourceType": tag.resource_type,
                "Key": tag.key,
                "Value": tag.value,
            }
            for tag in tags
        ],
    }


def _get_tags(resource: Any) -> list[dict[str, str]]:
    resource_type = EC2_PREFIX_TO_RESOURCE.get(get_prefix(resource.id), "")
    return [
        {
            "resource_id": resource.id,
            "key": key,
            "value": value,
            "resource_type": resource_type,
        }
        for key, value in of(resource.ec2_backend, resource.id).items()
    ]
