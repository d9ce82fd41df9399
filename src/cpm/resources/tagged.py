"""Resources by their tags: of all types in one listing, or type by type where that is denied."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.resources import registry
from cpm.resources.contract import Driver, Resource, TagRules

# The IAM actions of `find`.
PERMISSIONS = ("tag:GetResources",)
_SERVICE = "resourcegroupstaggingapi"
_PER_PAGE = 100


@dataclass(frozen=True, slots=True)
class Tagged:
    """A resource that carries one of the tags; `resource` where AWS has described it already."""

    driver: Driver
    resource_id: str
    tags: Mapping[str, str]
    resource: Resource | None = None


def drivers() -> list[tuple[Driver, TagRules]]:
    """The types that tags can protect."""
    return [(driver, driver.tag_rules) for driver in registry.drivers() if driver.tag_rules]


def find(aws: Aws, keys: Sequence[str]) -> list[Tagged]:
    """Whatever carries one of the keys, in as few calls as AWS allows; raises Fault.

    AWS may list what no longer exists, and lags behind what has just been tagged.
    """
    found: dict[tuple[str, str], Tagged] = {}
    # Filters of one call are ANDed.
    for key in keys:
        for each in _with_key(aws, key):
            found[each.driver.kind, each.resource_id] = each
    return list(found.values())


def list_all(aws: Aws, driver: Driver, keys: Collection[str]) -> Iterator[Tagged]:
    """The same for one type, by looking at everything of it; raises Fault."""
    for resource in driver.discover(aws):
        if not resource.tags.keys().isdisjoint(keys):
            yield Tagged(driver, resource.resource_id, resource.tags, resource)


def _with_key(aws: Aws, key: str) -> Iterator[Tagged]:
    # Without types there would be thousands of snapshots that carry the tags of their volumes.
    types = [rules.resource_type for _, rules in drivers()]
    listed = aws.pages(
        _SERVICE,
        "GetResources",
        "ResourceTagMappingList",
        TagFilters=[{"Key": key}],
        ResourceTypeFilters=types,
        ResourcesPerPage=_PER_PAGE,
    )
    for each in listed:
        for driver, rules in drivers():
            resource_id = rules.resource_id(each["ResourceARN"])
            if resource_id is not None:
                yield Tagged(driver, resource_id, tags.from_aws(each["Tags"]))
