"""Requests to the EBS direct APIs, read without moto: blocks come and go by the thousand."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from cpm.simulator.ebs_errors import invalid
from cpm.simulator.web import Request

_ROUTES = (
    ("GET", "GetSnapshotBlock", r"/snapshots/(?P<SnapshotId>[^/]+)/blocks/(?P<BlockIndex>[^/]+)"),
    ("PUT", "PutSnapshotBlock", r"/snapshots/(?P<SnapshotId>[^/]+)/blocks/(?P<BlockIndex>[^/]+)"),
    ("GET", "ListSnapshotBlocks", r"/snapshots/(?P<SnapshotId>[^/]+)/blocks"),
    ("GET", "ListChangedBlocks", r"/snapshots/(?P<SecondSnapshotId>[^/]+)/changedblocks"),
    ("POST", "CompleteSnapshot", r"/snapshots/completion/(?P<SnapshotId>[^/]+)"),
    ("POST", "StartSnapshot", r"/snapshots"),
)
_PATHS = [(method, name, re.compile(path)) for method, name, path in _ROUTES]
_QUERY = {
    "blockToken": "BlockToken",
    "firstSnapshotId": "FirstSnapshotId",
    "pageToken": "NextToken",
    "maxResults": "MaxResults",
    "startingBlockIndex": "StartingBlockIndex",
}
_HEADERS = {
    "x-amz-changedblockscount": "ChangedBlocksCount",
    "x-amz-checksum": "Checksum",
    "x-amz-checksum-aggregation-method": "ChecksumAggregationMethod",
    "x-amz-checksum-algorithm": "ChecksumAlgorithm",
    "x-amz-data-length": "DataLength",
    "x-amz-progress": "Progress",
}
_NUMBERS = (
    "BlockIndex",
    "MaxResults",
    "StartingBlockIndex",
    "ChangedBlocksCount",
    "DataLength",
    "Progress",
    "VolumeSize",
    "Timeout",
)


def name_of(request: Request) -> str | None:
    """The operation that a request means by method and path."""
    found = _route(request)
    return found[0] if found else None


def read(request: Request) -> Mapping[str, Any]:
    """The parameters, by their names in the API reference; raises ValidationException."""
    found = _route(request)
    params: dict[str, Any] = dict(found[1]) if found else {}
    query = parse_qs(request.query)
    params |= {name: query[key][-1] for key, name in _QUERY.items() if key in query}
    headers = request.headers
    params |= {name: headers[key] for key, name in _HEADERS.items() if key in headers}
    if found and found[0] == "StartSnapshot":
        params |= _json(request)
    for name in _NUMBERS:
        if name in params:
            params[name] = _number(name, params[name])
    return params


def required(params: Mapping[str, Any], name: str) -> Any:
    """A parameter that there must be; raises ValidationException."""
    if params.get(name) is None:
        raise invalid("INVALID_PARAMETER_VALUE", f"{name} is required")
    return params[name]


def _route(request: Request) -> tuple[str, dict[str, str]] | None:
    for method, name, path in _PATHS:
        found = path.fullmatch(request.path) if method == request.method else None
        if found is not None:
            return name, found.groupdict()
    return None


def _json(request: Request) -> dict[str, Any]:
    try:
        value = json.loads(request.body or b"{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise invalid("INVALID_PARAMETER_VALUE", "The body is not a JSON object")
    return value


def _number(name: str, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        raise invalid("INVALID_PARAMETER_VALUE", f"{name} is a number, 0 or more")
    return number
