"""The Resource Groups Tagging API's `GetResources`: what is tagged, of all services, in pages.

A page goes on after the last ARN of the one before it, so that it may be asked for again and what
is made or deleted meanwhile neither shifts nor repeats the rest. EC2's terminated instances are
listed as long as EC2 itself still has them, as in AWS.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from moto.core.resource_tagging import iter_taggable_backends, make_tag_matcher, match_resource_type
from moto.dynamodb.models import dynamodb_backends

from cpm.simulator import (
    ec2_listing,
    ec2_state,
    ec2_tags,
    making,
    markers,
    rds_kinds,
    redshift_snapshots,
)
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.errors import AwsError

_DEFAULT_PAGE = 50
_LARGEST_PAGE = 100
_RESOURCE_TYPE = re.compile(r"[a-z0-9-]+(:[a-zA-Z0-9/_-]+)?")


@dataclass(frozen=True)
class Tagged:
    """Something with its tags."""

    arn: str
    tags: Mapping[str, str]


def install(handlers: Handlers) -> None:
    """Take over listing; the rest of the API is moto's."""
    handlers.add("tag", {"GetResources": get_resources})


def get_resources(call: Call) -> Mapping[str, Any]:
    """What has all of the tags that are asked for, of the types that are asked for."""
    _check(call)
    matches = make_tag_matcher(call.get("TagFilters"))
    arns = call.get("ResourceARNList")
    found = [
        each
        for each in _resources(call)
        if each.tags and matches(dict(each.tags)) and (not arns or each.arn in arns)
    ]
    size = call.get("ResourcesPerPage", _DEFAULT_PAGE)
    try:
        page, token = markers.page(found, lambda each: each.arn, size, call.get("PaginationToken"))
    except markers.BadMarker:
        raise AwsError("PaginationTokenExpiredException", "The token is not valid.") from None
    return {
        "ResourceTagMappingList": [
            {"ResourceARN": each.arn, "Tags": _listed(each.tags)} for each in page
        ],
        "PaginationToken": token or "",
    }


def _check(call: Call) -> None:
    if not 1 <= call.get("ResourcesPerPage", _DEFAULT_PAGE) <= _LARGEST_PAGE:
        raise _invalid(f"ResourcesPerPage must be between 1 and {_LARGEST_PAGE}")
    for name in call.get("ResourceTypeFilters", []):
        if not _RESOURCE_TYPE.fullmatch(name):
            raise _invalid(f"The resource type {name} is not valid")
    if call.get("ResourceARNList") and (
        call.get("ResourceTypeFilters") or call.get("TagFilters") or call.get("PaginationToken")
    ):
        raise _invalid("ResourceARNList cannot be combined with filters or pages")


def _resources(call: Call) -> Iterator[Tagged]:
    wanted = call.get("ResourceTypeFilters")
    for resource_type, list_all in _OWN.items():
        if match_resource_type(resource_type, wanted):
            yield from list_all(call)
    for backend in iter_taggable_backends(call.account, call.region):
        namespace = backend.SERVICE_NAMESPACE
        if wanted and not any(name.split(":")[0] == namespace for name in wanted):
            continue
        for each in backend.iter_tagged_resources():
            is_own = each.resource_type in _OWN
            if not is_own and match_resource_type(each.resource_type, wanted):
                yield Tagged(each.arn, each.tags)


def _ec2(call: Call, noun: str, ids: Iterable[str]) -> Iterator[Tagged]:
    ec2 = ec2_state.backend(call.account, call.region)
    place = f"arn:{ec2.partition}:ec2:{call.region}:{call.account}"
    for resource_id in ids:
        if ec2_listing.is_listed(ec2, resource_id):
            yield Tagged(f"{place}:{noun}/{resource_id}", ec2_tags.of(ec2, resource_id))


def _instances(call: Call) -> Iterator[Tagged]:
    ec2 = ec2_state.backend(call.account, call.region)
    reservations = ec2.reservations.values()
    ids = [each.id for reservation in reservations for each in reservation.instances]
    return _ec2(call, "instance", ids)


def _volumes(call: Call) -> Iterator[Tagged]:
    return _ec2(call, "volume", list(ec2_state.backend(call.account, call.region).volumes))


def _databases(kind: rds_kinds.Kind) -> Callable[[Call], Iterator[Tagged]]:
    def list_all(call: Call) -> Iterator[Tagged]:
        rds = rds_kinds.backend(call.account, call.region)
        for each in making.listed(kind.sources(rds).values()):
            yield Tagged(each.arn, _by_key(each.get_tags()))

    return list_all


def _redshift_clusters(call: Call) -> Iterator[Tagged]:
    redshift = redshift_snapshots.backend(call.account, call.region)
    for each in making.listed(redshift.clusters.values()):
        yield Tagged(each.arn, _by_key(each.tags))


def _tables(call: Call) -> Iterator[Tagged]:
    dynamodb = dynamodb_backends[call.account][call.region]
    for each in making.listed(dynamodb.tables.values()):
        yield Tagged(each.table_arn, _by_key(each.tags or []))


# The types that this layer makes itself, or that moto leaves out.
_OWN: Mapping[str, Callable[[Call], Iterator[Tagged]]] = {
    "ec2:instance": _instances,
    "ec2:volume": _volumes,
    "rds:db": _databases(rds_kinds.INSTANCE),
    "rds:cluster": _databases(rds_kinds.CLUSTER),
    "redshift:cluster": _redshift_clusters,
    "dynamodb:table": _tables,
}


def _by_key(tags: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {str(tag["Key"]): str(tag.get("Value") or "") for tag in tags}


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _invalid(text: str) -> AwsError:
    return AwsError("InvalidParameterException", text)
