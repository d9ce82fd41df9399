"""Pages as the services after EC2 have them: a size, a marker, and a marker of the next page.

A marker names the last key of its page and pages are in the order of keys, so that what is made
or deleted between two pages neither shifts nor repeats the rest.
"""

import base64
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


class BadMarker(ValueError):
    """A marker that this listing never gave."""


def page(
    items: Iterable[T], key: Callable[[T], str], size: int, marker: str | None
) -> tuple[list[T], str | None]:
    """The `size` items after `marker`, and the next marker, if any; raises BadMarker."""
    ordered = sorted(items, key=key)
    start = bisect_right(ordered, _decoded(marker), key=key) if marker else 0
    end = start + size
    if end >= len(ordered):
        return ordered[start:], None
    return ordered[start:end], _encoded(key(ordered[end - 1]))


def _encoded(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _decoded(marker: str) -> str:
    try:
        return base64.urlsafe_b64decode(marker.encode()).decode()
    except ValueError as failure:
        raise BadMarker(marker) from failure
