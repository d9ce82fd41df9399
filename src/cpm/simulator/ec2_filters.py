"""EC2's `Filters`: values are alternatives, filters add up, `*` and `?` are wildcards."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from cpm.simulator.ec2_errors import invalid_value
from cpm.simulator.xml import iso

T = TypeVar("T")
Value = str | int | bool | datetime | None
Field = Callable[[T], Value | Iterable[Value]]
Tags = Mapping[str, str]
Matcher = Callable[[str], bool]

_WILDCARDS = {"*": ".*", "?": "."}


def matching(
    items: Iterable[T],
    filters: Sequence[Mapping[str, Any]],
    fields: Mapping[str, Field[T]],
    tags_of: Callable[[T], Tags],
) -> list[T]:
    """The items that pass every filter; a filter that EC2 does not have is an error."""
    kept = list(items)
    for item in filters:
        read = _reader(str(item.get("Name")), fields, tags_of)
        accepts = _matcher([str(value) for value in item.get("Values", [])])
        kept = [one for one in kept if any(accepts(text) for text in _texts(read(one)))]
    return kept


def _reader(
    name: str, fields: Mapping[str, Field[T]], tags_of: Callable[[T], Tags]
) -> Callable[[T], Any]:
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda item: tags_of(item).get(key)
    if name == "tag-key":
        return lambda item: tags_of(item).keys()
    if name == "tag-value":
        return lambda item: tags_of(item).values()
    if name not in fields:
        raise invalid_value(f"The filter '{name}' is invalid")
    return fields[name]


def _matcher(values: Sequence[str]) -> Matcher:
    exact = {value for value in values if not re.search(r"[*?\\]", value)}
    patterns = [re.compile(_pattern(value)) for value in values if value not in exact]
    return lambda text: text in exact or any(pattern.match(text) for pattern in patterns)


def _pattern(value: str) -> str:
    # A backslash takes the meaning from the next character.
    parts = re.findall(r"\\.|\*|\?|[^*?\\]+|\\$", value, re.DOTALL)
    return "(?s:" + "".join(_pattern_part(part) for part in parts) + r")\Z"


def _pattern_part(part: str) -> str:
    if part in _WILDCARDS:
        return _WILDCARDS[part]
    escaped = part.startswith("\\") and len(part) > 1
    return re.escape(part[1:] if escaped else part)


def _texts(value: Value | Iterable[Value]) -> Iterable[str]:
    if value is None:
        return ()
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, str | int):
        return (str(value),)
    if isinstance(value, datetime):
        return (iso(value),)
    return [text for one in value for text in _texts(one)]
