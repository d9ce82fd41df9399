"""RDS's lists: filters with alternatives, and pages of 20 to 100 records after a marker."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from cpm.simulator import markers
from cpm.simulator.calls import Call
from cpm.simulator.rds_kinds import check_page_size, invalid_value

T = TypeVar("T")
Field = Callable[[T], Iterable[str | None]]

_DEFAULT_PAGE = 100


def matching(items: Iterable[T], call: Call, fields: Mapping[str, Field[T]]) -> list[T]:
    """The items that pass every filter of the call; values are compared without their case."""
    kept = list(items)
    for item in call.get("Filters", []):
        name, values = str(item.get("Name")), item.get("Values", [])
        if name not in fields:
            raise invalid_value(f"Unrecognized filter name: {name}")
        if not values:
            raise invalid_value(f"The list of values of the filter {name} must not be empty.")
        kept = _having(kept, fields[name], values)
    return kept


def page(call: Call, items: Iterable[T], key: Callable[[T], str]) -> tuple[list[T], str | None]:
    """The page of `items` that the call asks for, and the marker of the next one, if any."""
    size = call.get("MaxRecords", _DEFAULT_PAGE)
    check_page_size(size)
    try:
        return markers.page(items, key, size, call.get("Marker"))
    except markers.BadMarker:
        raise invalid_value("The parameter Marker is not valid") from None


def _having(items: Sequence[T], field: Field[T], values: Sequence[Any]) -> list[T]:
    wanted = {str(value).lower() for value in values}
    return [one for one in items if any((text or "").lower() in wanted for text in field(one))]
