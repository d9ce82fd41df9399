"""The kinds of values that fields hold: how each is read, and what the OpenAPI document says of it.

Messages and codes are those of Django REST framework, which clients of the API know.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from cpm.kernel import regions, times
from cpm.kernel.invalid import Invalid, Problem
from cpm.kernel.regions import Region
from cpm.services.fields import Field, Fields, Kind
from cpm.services.given import Given

# What PostgreSQL's `integer` holds, and its `bigint`, which ids are.
MOST = 2**31 - 1
MOST_ID = 2**63 - 1

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,40}(\.0*)?\s*")
_TRUE = frozenset({"true", "1", "on", "yes", "t", "y"})
_FALSE = frozenset({"false", "0", "off", "no", "f", "n"})


def to_integer(value: object) -> int | None:
    """The whole number that a number or a text means, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int):
        return value
    text = str(value)
    return int(text.strip().partition(".")[0]) if _INTEGER.fullmatch(text) else None


def to_boolean(value: object) -> bool | None:
    """The boolean that a boolean, 0, 1 or one of the usual words means, or None."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, str | int) else ""
    if word in _TRUE | _FALSE:
        return word in _TRUE
    return None


def to_region(value: object) -> Region | None:
    """The region of an id, which may be a text, or of a name, if there is one."""
    number = to_integer(value)
    return regions.by_name(str(value)) if number is None else regions.by_id(number)


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can hold the text: no NUL, no half of a surrogate pair."""
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def integer(least: int = 0, most: int = MOST) -> Kind:
    """A whole number within bounds."""

    def read(value: object) -> int:
        number = to_integer(value)
        if number is None:
            raise _invalid("invalid", "A valid integer is required.")
        if number < least:
            message = f"Ensure this value is greater than or equal to {least}."
            raise _invalid("min_value", message)
        if number > most:
            raise _invalid("max_value", f"Ensure this value is less than or equal to {most}.")
        return number

    return Kind(read, {"type": "integer", "minimum": least, "maximum": most})


def text(
    rule: Callable[[str], str] = str, *, blank: bool = False, max_length: int | None = None
) -> Kind:
    """A text; `rule` returns it as it is kept, or raises `Invalid`."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise _invalid("invalid", "Not a valid string.")
        if not is_storable(value):
            raise _invalid("invalid", "This field contains characters that are not allowed.")
        if not value and not blank:
            raise _invalid("blank", "This field may not be blank.")
        if max_length is not None and len(value) > max_length:
            message = f"Ensure this field has no more than {max_length} characters."
            raise _invalid("max_length", message)
        return rule(value)

    limits = {"maxLength": max_length} if max_length else {}
    return Kind(read, {"type": "string", **({} if blank else {"minLength": 1}), **limits})


def password() -> Kind:
    """A secret: kept as it is sent, blanks included, and never shown."""
    kind = text()
    return Kind(kind.read, {"type": "string", "format": "password", "writeOnly": True})


def email() -> Kind:
    """An e-mail address, or nothing."""

    def check(value: str) -> str:
        try:
            if value.strip():
                validate_email(value.strip())
        except ValidationError:
            raise _invalid("invalid", "Enter a valid email address.") from None
        return value.strip()

    kind = text(check, blank=True, max_length=254)
    return Kind(kind.read, {"type": "string", "maxLength": 254})


def boolean() -> Kind:
    """True or false."""

    def read(value: object) -> bool:
        known = to_boolean(value)
        if known is None:
            raise _invalid("invalid", "Must be a valid boolean.")
        return known

    return Kind(read, {"type": "boolean"})


def choice(*choices: str) -> Kind:
    """One of some letters or words, exact; members of an enum come back as such."""
    by_value = {str(one): one for one in choices}

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in by_value:
            raise _invalid("invalid_choice", f'"{_shown(value)}" is not a valid choice.')
        return by_value[value]

    return Kind(read, {"type": "string", "enum": list(by_value)})


def moment() -> Kind:
    """A point in time: any ISO 8601; without a zone it is UTC."""

    def read(value: object) -> datetime:
        try:
            return times.parse(value if isinstance(value, str) else "")
        except ValueError as error:
            raise _invalid("invalid", f"Datetime has wrong format: {error}.") from None

    return Kind(read, {"type": "string", "format": "date-time"})


def reference() -> Kind:
    """The id of an object; whether it exists, and for whom, is for the service to say."""

    def read(value: object) -> int:
        number = to_integer(value)
        if number is None:
            message = f"Incorrect type. Expected pk value, received {type_name(value)}."
            raise _invalid("incorrect_type", message)
        if not 0 <= number <= MOST_ID:
            raise does_not_exist(number)
        return number

    return Kind(read, {"type": "integer", "format": "int64"})


def region() -> Kind:
    """A region, by id or name; read as its id."""

    def read(value: object) -> int:
        found = to_region(value)
        if found is None:
            raise does_not_exist(value)
        return found.id

    return Kind(read, {"type": ["integer", "string"]})


def array(kind: Kind) -> Kind:
    """A list of values of one kind."""

    def read(value: object) -> list[Any]:
        if not isinstance(value, list):
            message = f'Expected a list of items but got type "{type_name(value)}".'
            raise _invalid("invalid", message)
        given = Given()
        items = [_item(kind, item, place, given) for place, item in enumerate(value, start=1)]
        given.check()
        return items

    return Kind(read, {"type": "array", "items": kind.schema})


def nested(*fields: Field) -> Kind:
    """An object of fields; on update, what is left out of it stays as it is."""
    inner = Fields(fields)

    def read(value: object) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            message = f"Invalid data. Expected a dictionary, but got {type_name(value)}."
            raise _invalid("invalid", message)
        given = inner.read(value)
        given.check()
        return dict(given)

    return Kind(read, {"type": "object"}, inner)


def does_not_exist(value: object) -> Invalid:
    """The refusal of a reference to nothing that the actor can see."""
    return _invalid("does_not_exist", f'Invalid pk "{_shown(value)}" - object does not exist.')


def type_name(value: object) -> str:
    """What JSON calls the type of a value."""
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}
    return "null" if value is None else names.get(type(value), "object")


def _item(kind: Kind, item: object, place: int, given: Given) -> Any:
    """One item of an array; its problems say which it is."""
    try:
        return kind.read(item)
    except Invalid as error:
        for problem in error.problems:
            part = f", {problem.field}" if problem.field else ""
            given.refuse("", problem.code, f"Item {place}{part}: {problem.message}")


def _shown(value: object) -> str:
    """A value as a message repeats it: not at any length."""
    return str(value)[:100]


def _invalid(code: str, message: str) -> Invalid:
    return Invalid(Problem(code, message))
