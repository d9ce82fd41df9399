"""How the rows of a query are shown: which columns are read, and what object is made of each row.

The object is a msgspec struct whose attributes are the wire's keys, in the wire's order. What it
declares is what the OpenAPI document says; what it holds goes out as it is. A key that does not
apply to an object is `UNSET`, and left out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Struct

from cpm.api.versions import Version

S = TypeVar("S", bound=Struct)
Row = tuple[Any, ...]

# Marks a key that older versions do not show: `Annotated[int | UnsetType, SINCE_1_2]`.
SINCE_1_1 = Meta(extra={"since": Version.V1_1}, extra_json_schema={"x-since": "1.1.0"})
SINCE_1_2 = Meta(extra={"since": Version.V1_2}, extra_json_schema={"x-since": "1.2.0"})


class Shown(Struct, gc=False):
    """An object as it goes out.

    None is part of itself, so the collector of cycles need not look at them; that it did would
    take half of the CPU of a long list.
    """


@dataclass(frozen=True, slots=True)
class Shape(Generic[S]):
    """What one noun looks like on the wire.

    `columns` are names of columns, references and annotations, as `values_list` takes them; times
    among them arrive cut to the second. `build` is called with one row's values.
    """

    struct: type[S]
    columns: tuple[str, ...]
    build: Callable[..., S]

    def builder(self, version: Version) -> Callable[[Row], S]:
        """What makes the object of a row as this version shows it."""
        build = self.build
        hidden = hidden_keys(self.struct, version)
        if not hidden:
            return lambda row: build(*row)

        return lambda row: shown_to(version, build(*row))


def shown_to(version: Version, built: S) -> S:
    """The object without what came later than this version."""
    for path in hidden_keys(type(built), version):
        _hide(built, path)
    return built


def encode(built: object) -> bytes:
    """The JSON of anything that a shape has built."""
    return msgspec.json.encode(built)


@lru_cache
def hidden_keys(struct: type[Struct], version: Version) -> tuple[tuple[str, ...], ...]:
    """The keys, as paths, that came later than this version."""
    return tuple(_hidden(struct, version))


def since(hint: object) -> Version:
    """The version that introduced a key, by its type hint."""
    for meta in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
        if isinstance(meta, Meta) and meta.extra:
            return Version(meta.extra["since"])
    return Version.V1_0


def _hidden(struct: type[Struct], version: Version) -> Iterator[tuple[str, ...]]:
    for name, hint in get_type_hints(struct, include_extras=True).items():
        if since(hint) > version:
            yield (name,)
        else:
            for inner in _held(hint):
                yield from ((name, *path) for path in _hidden(inner, version))


def _held(hint: object) -> Iterator[type[Struct]]:
    """The structs of which a key may hold one."""
    if isinstance(hint, type) and issubclass(hint, Struct):
        yield hint
    elif get_origin(hint) in {Annotated, Union, UnionType}:
        for each in get_args(hint):
            yield from _held(each)


def _hide(built: Struct, path: Sequence[str]) -> None:
    target: Any = built
    for name in path[:-1]:
        target = getattr(target, name)
        if not isinstance(target, Struct):
            return
    setattr(target, path[-1], UNSET)
