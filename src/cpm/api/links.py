"""Where an answer leads: the links of the OpenAPI document, from what is made to what can be done.

An operation that makes an object answers its id. Whatever lies below the path of such an object
can be called with that id, and with the other ids of the request itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cpm.api.operations import Operation

Links = Mapping[str, Any]


def of(operation: Operation, operations: Iterable[Operation]) -> Links:
    """The links of an operation, by the name of what each leads to; none where it makes nothing."""
    known = tuple(operations)
    home = _home(operation, known)
    if operation.method != "POST" or home is None:
        return {}
    return {
        other.name: {"operationId": other.name, "parameters": dict(parameters)}
        for other in known
        if other is not operation and (parameters := _parameters(operation, home, other))
    }


def _home(operation: Operation, known: Iterable[Operation]) -> str | None:
    """The path at which the object that the operation answers is found."""
    found = [
        other.path
        for other in known
        if other.method == "GET"
        and other.answer is operation.answer is not None
        and other.path.endswith("}/")
        and "id" in operation.answer.__struct_fields__
    ]
    below = [path for path in found if path.startswith(operation.path)]
    return min(below or found, key=len, default=None)


def _parameters(operation: Operation, home: str, other: Operation) -> list[tuple[str, str]]:
    """What the path of the other is filled in with; nothing where that is not known."""
    places, others = home.strip("/").split("/"), other.path.strip("/").split("/")
    asked = operation.path.strip("/").split("/")
    if [_nameless(one) for one in others[: len(places)]] != [_nameless(one) for one in places]:
        return []
    if any(one.startswith("{") for one in others[len(places) :]):
        return []
    return list(_filled(asked, others[: len(places)]))


def _filled(asked: list[str], parts: list[str]) -> Iterator[tuple[str, str]]:
    for position, part in enumerate(parts):
        if not part.startswith("{"):
            continue
        is_its_own = position == len(parts) - 1
        source = "$response.body#/id" if is_its_own else f"$request.path.{asked[position][1:-1]}"
        yield part[1:-1], source


def _nameless(part: str) -> str:
    return "{}" if part.startswith("{") else part
