"""All resource types: each module of this folder that has a `DRIVER` and no leading underscore.

Nothing else lists the types. Adding one is adding one file.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import MappingProxyType
from typing import TypeVar

import cpm.resources
from cpm.resources.contract import Driver, SnapshotCollection, Watch

T = TypeVar("T")

_added: list[Driver] = []


class BadDriver(Exception):
    """Two drivers claim the same word; the message names both."""


def drivers() -> tuple[Driver, ...]:
    """All drivers, by kind."""
    return tuple(_by_kind().values())


def driver(kind: str) -> Driver:
    """The driver of `kind`; raises KeyError."""
    return _by_kind()[kind]


def by_target_collection(name: str) -> Driver:
    """The driver whose targets policies list under `name`; raises KeyError."""
    return _by_target_collection()[name]


def by_snapshot_collection(name: str) -> tuple[Driver, SnapshotCollection]:
    """The driver and the collection under which backups list its snapshots; raises KeyError."""
    return _by_snapshot_collection()[name]


def watch(name: str) -> Watch:
    """The watch of that name, whichever drivers share it; raises KeyError."""
    return _watches()[name]


@contextmanager
def added(*extra: Driver) -> Iterator[None]:
    """For tests: `extra` drivers beside the real ones while the context lasts."""
    before = list(_added)
    _added.extend(extra)
    _forget()
    try:
        _by_kind(), _by_target_collection(), _by_snapshot_collection(), _watches()
        yield
    finally:
        _added[:] = before
        _forget()


@cache
def _by_kind() -> Mapping[str, Driver]:
    found = sorted([*_discovered(), *_added], key=lambda each: each.kind)
    return _unique("kind", ((each.kind, each.kind, each) for each in found))


@cache
def _by_target_collection() -> Mapping[str, Driver]:
    return _unique(
        "target collection", ((each.kind, each.target_collection, each) for each in drivers())
    )


@cache
def _by_snapshot_collection() -> Mapping[str, tuple[Driver, SnapshotCollection]]:
    return _unique(
        "snapshot collection",
        (
            (each.kind, collection.name, (each, collection))
            for each in drivers()
            for collection in each.snapshot_collections
        ),
    )


@cache
def _watches() -> Mapping[str, Watch]:
    found: dict[str, Watch] = {}
    for each in drivers():
        for one in each.watches:
            if found.setdefault(one.name, one) != one:
                raise BadDriver(f"{each.kind} has another watch {one.name}")
    return MappingProxyType(found)


def _discovered() -> Iterator[Driver]:
    for module in pkgutil.iter_modules(cpm.resources.__path__):
        if not module.name.startswith("_"):
            found = importlib.import_module(f"{cpm.resources.__name__}.{module.name}")
            if isinstance(getattr(found, "DRIVER", None), Driver):
                yield found.DRIVER


def _unique(what: str, claims: Iterable[tuple[str, str, T]]) -> Mapping[str, T]:
    values: dict[str, T] = {}
    owners: dict[str, str] = {}
    for kind, word, value in claims:
        if word in values:
            raise BadDriver(f"{owners[word]} and {kind} both claim the {what} {word}")
        values[word], owners[word] = value, kind
    return MappingProxyType(values)


def _forget() -> None:
    for cached in (_by_kind, _by_target_collection, _by_snapshot_collection, _watches):
        cached.cache_clear()
