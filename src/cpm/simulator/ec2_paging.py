"""EC2's pages: `MaxResults` at a time, `NextToken` to go on.

A token names the last id of its page and pages are in the order of ids, so that what is made or
deleted between two pages neither shifts nor repeats the rest.
"""

import base64
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cpm.simulator.calls import Call
from cpm.simulator.ec2_errors import invalid_combination, invalid_value
from cpm.simulator.errors import AwsError

T = TypeVar("T")

_FEWEST = 5
_MOST = 1000


def page(
    call: Call, items: Sequence[T], key: Callable[[T], str], default: int | None = None
) -> tuple[list[T], str | None]:
    """The page of `items` that the call asks for, and the token of the next one, if any.

    `default` is the page's size when the call names none; None gives everything.
    """
    size = _size(call.params) or default
    token = call.get("NextToken")
    if size is None and not token:
        return list(items), None
    ordered = sorted(items, key=key)
    start = bisect_right(ordered, _last_id(call, token), key=key) if token else 0
    end = start + (size or _MOST)
    more = end < len(ordered)
    return ordered[start:end], _token(call, key(ordered[end - 1])) if more else None


def refuse_ids_with_pages(call: Call, ids: str, wire_name: str) -> None:
    """Raise when the parameter `ids` comes together with `MaxResults`."""
    if call.get(ids) and call.get("MaxResults") is not None:
        raise invalid_combination(
            f"The parameter {wire_name} cannot be used with the parameter maxResults"
        )


def _size(params: Mapping[str, Any]) -> int | None:
    size: int | None = params.get("MaxResults")
    if size is None:
        return None
    if size < _FEWEST:
        raise _bad_size(size, "greater than or equal to", _FEWEST)
    if size > _MOST:
        raise _bad_size(size, "less than or equal to", _MOST)
    return size


def _bad_size(size: int, relation: str, bound: int) -> AwsError:
    return invalid_value(
        f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value "
        f"{relation} {bound}."
    )


def _token(call: Call, last_id: str) -> str:
    return base64.urlsafe_b64encode(f"{call.operation.name}/{last_id}".encode()).decode()


def _last_id(call: Call, token: str) -> str:
    try:
        operation, last_id = base64.urlsafe_b64decode(token).decode().split("/", 1)
    except ValueError:
        operation, last_id = "", ""
    if operation != call.operation.name:
        raise AwsError("InvalidNextToken", "The specified NextToken is not valid.")
    return last_id
