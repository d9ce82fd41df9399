"""Options of resource types, declared once as frozen dataclasses with `option` fields.

The API's serializers, the console's forms and the CLI's flags are all made from `specs`. `make`
and `to_json` carry options to and from the rows that keep them.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_KEY = "option"
_REQUIRED = object()

T = TypeVar("T")


class OptionType(StrEnum):
    """What an option's value is made of."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    STRING = "string"
    STRINGS = "strings"  # a list of texts, `tuple[str, ...]`
    OBJECTS = "objects"  # a list of nested options, `tuple[Nested, ...]`
    MAPPING = "mapping"  # texts by text, `Mapping[str, str]`


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One option as all front ends see it. `choices` maps each legal value to its label."""

    name: str
    type: OptionType
    label: str
    help: str = ""
    is_nullable: bool = False
    is_required: bool = False
    default: Any = None
    choices: Mapping[str, str] = field(default_factory=dict)
    minimum: int | None = None
    maximum: int | None = None
    max_length: int | None = None
    # The options of one element of a list of nested options.
    nested: tuple["OptionSpec", ...] = ()


@dataclass(frozen=True, slots=True)
class _Declared:
    label: str
    help: str
    choices: Mapping[str, str]
    minimum: int | None
    maximum: int | None
    max_length: int | None


def option(
    default: Any = _REQUIRED,
    *,
    label: str,
    help: str = "",  # noqa: A002 - the word of every front end
    choices: Mapping[str, str] | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
    max_length: int | None = None,
) -> Any:
    """Declare one option of an options dataclass; without a default it is required.

    The default `dict` means an empty one.
    """
    declared = _Declared(label, help, choices or {}, minimum, maximum, max_length)
    metadata = {_KEY: declared}
    if default is _REQUIRED:
        return field(metadata=metadata)
    if default is dict:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def specs(options: type) -> list[OptionSpec]:
    """The options of a dataclass, in the order of their declaration."""
    hints = _hints(options)
    return [
        _spec(item, hints[item.name], item.metadata[_KEY])
        for item in fields(options)
        if _KEY in item.metadata
    ]


def make(options: type[T], values: Mapping[str, Any]) -> T:
    """The options that `values` (JSON, already checked) say; unknown keys are ignored."""
    hints = _hints(options)  # type: ignore[arg-type]  # every type is hashable
    known = {
        item.name: _value(hints[item.name], values[item.name])
        for item in fields(options)  # type: ignore[arg-type]  # every options type is a dataclass
        if item.name in values
    }
    return options(**known)


def to_json(options: Any) -> dict[str, Any]:
    """The options as JSON, such that `make` gives them back."""
    return asdict(options)


@cache
def _hints(options: type) -> Mapping[str, Any]:
    """The types of the fields, which take longer to make out than an object to make."""
    return get_type_hints(options)


def _spec(item: Field[Any], hint: Any, declared: _Declared) -> OptionSpec:
    inner, is_nullable = _without_none(hint)
    kind, nested = _type(inner)
    return OptionSpec(
        name=item.name,
        type=kind,
        label=declared.label,
        help=declared.help,
        is_nullable=is_nullable,
        is_required=item.default is MISSING and item.default_factory is MISSING,
        default=_default(item),
        choices=declared.choices,
        minimum=declared.minimum,
        maximum=declared.maximum,
        max_length=declared.max_length,
        nested=tuple(specs(nested)) if nested else (),
    )


def _default(item: Field[Any]) -> Any:
    if item.default_factory is not MISSING:
        return item.default_factory()
    return None if item.default is MISSING else item.default


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) not in (Union, UnionType):
        return hint, False
    inner = [part for part in get_args(hint) if part is not NoneType]
    if len(inner) != 1:
        raise TypeError(f"an option has one type, not {hint}")
    return inner[0], True


def _type(hint: Any) -> tuple[OptionType, type | None]:
    simple = {
        bool: OptionType.BOOLEAN,
        int: OptionType.INTEGER,
        str: OptionType.STRING,
        tuple[str, ...]: OptionType.STRINGS,
        Mapping[str, str]: OptionType.MAPPING,
    }
    if hint in simple:
        return simple[hint], None
    nested = _element(hint)
    if nested is None:
        raise TypeError(f"{hint} cannot be the type of an option")
    return OptionType.OBJECTS, nested


def _element(hint: Any) -> type | None:
    """The dataclass that a tuple's type holds, None for any other type."""
    if get_origin(hint) is not tuple:
        return None
    element = get_args(hint)[0]
    return element if isinstance(element, type) and is_dataclass(element) else None


def _value(hint: Any, value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    nested = _element(_without_none(hint)[0])
    return tuple(make(nested, element) if nested else element for element in value)
