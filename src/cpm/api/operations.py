"""What an operation declares, and how the path of a request finds it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.http.response import HttpResponseBase
from msgspec import Struct

from cpm.api import guide
from cpm.api.lists import Listing
from cpm.api.negotiation import JSON
from cpm.api.versions import Version
from cpm.queries.errors import NotFound
from cpm.services.access import Action
from cpm.services.fields import Fields, Schema
from cpm.services.kinds import MOST_ID

BASE = "/api/"

# Takes a `cpm.api.request.Request` and the ids of the path.
View = Callable[..., HttpResponseBase]

_ID = "{}"


@dataclass(frozen=True)
class Operation:
    """One method of one path, and all that is to be known of it.

    Addresses, versions, access and the OpenAPI document derive from it. `action` is None where
    nobody needs a token. `body` says what goes in; `answer` (one object, or an array where it
    `is_array`) or `listing` (a list to choose from) what comes out; `parameters` are those of the
    query that are no list's. One that answers nothing (204) answers only a dry run.
    """

    method: str
    path: str
    view: View
    action: Action | None
    body: Fields | None = None
    answer: type[Struct] | None = None
    is_array: bool = False
    listing: Listing[Any] | None = None
    status: int = 200
    produces: tuple[str, ...] = (JSON,)
    parameters: Mapping[str, Schema] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        """Its id: its method and its path in one word."""
        words = self.path.replace("{", "").replace("}", "").strip("/").split("/")
        return "_".join([self.method.lower(), *words]).replace("-", "_")

    @property
    def since(self) -> Version:
        """The version that introduced it."""
        return guide.since(self.method, self.path)


@dataclass(frozen=True, slots=True)
class Place:
    """A path that a request has named: how it is properly written, its ids, what can be done."""

    path: str
    ids: tuple[int, ...]
    operations: Mapping[str, Operation]

    @property
    def is_public(self) -> bool:
        """Whether nothing here needs a token."""
        return all(operation.action is None for operation in self.operations.values())

    def find(self, method: str) -> Operation | None:
        """What the method means here; a HEAD is a GET whose body nobody wants."""
        return self.operations.get("GET" if method == "HEAD" else method)

    def require(self, method: str, version: Version) -> Operation | None:
        """What the method means to this version, None where no version has it.

        Raises `NotFound` for what has come later.
        """
        operation = self.find(method)
        if not self.methods(version) or (operation and operation.since > version):
            raise NotFound
        return operation

    def methods(self, version: Version) -> list[str]:
        """What `Allow` says to this version."""
        known = [name for name, one in self.operations.items() if one.since <= version]
        if not known:
            return []
        return [*known, *(["HEAD"] if "GET" in known else []), "OPTIONS"]


@dataclass(slots=True)
class _Node:
    children: dict[str, "_Node"] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)


class Router:
    """Finds what a path means, however many slashes it is written with."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Node()
        for operation in operations:
            self._add(operation)

    def find(self, path: str) -> Place:
        """The place of a path below the base; raises `NotFound`."""
        parts = [part for part in path.split("/") if part]
        if parts[:1] == ["aws"]:
            del parts[0]
        node, ids = self._root, []
        for part in parts:
            child = node.children.get(part)
            if child is None and part.isascii() and part.isdigit():
                child = node.children.get(_ID)
                ids.append(min(int(part[:20]), MOST_ID))
            if child is None:
                raise NotFound
            node = child
        if not node.operations:
            raise NotFound
        return Place(f"{BASE}{'/'.join(parts)}/", tuple(ids), node.operations)

    def _add(self, operation: Operation) -> None:
        node = self._root
        for part in operation.path.strip("/").split("/"):
            node = node.children.setdefault(_ID if part.startswith("{") else part, _Node())
        if operation.method in node.operations:
            raise ValueError(f"{operation.method} {operation.path} is declared twice")
        node.operations[operation.method] = operation
