"""Lists: which rows a client asks for, in which order, and how many of them at a time.

A noun declares its list once, as data. Everything here goes for every list of the API.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any, Generic, TypeVar

from django.db.models import F, Q, QuerySet
from django.db.models.expressions import Expression, OrderBy
from django.db.models.functions import Collate
from django.http import QueryDict
from msgspec import Struct

from cpm.api.shapes import Shape
from cpm.api.statements import Rows
from cpm.kernel import times
from cpm.kernel.invalid import Invalid, Problem
from cpm.services.fields import Schema
from cpm.services.given import Given
from cpm.services.kinds import is_storable, to_boolean, to_integer, to_region

# What a list is ordered by.
Key = Expression | F

S = TypeVar("S", bound=Struct)

_NOTHING = Q(pk__in=())

# What can be asked of every list.
_ALWAYS = ("search", "ordering")

# What is asked for at more length than this (in characters) is not asked for twice.
_LONGEST_KEPT = 500


@dataclass(frozen=True, slots=True)
class Filter:
    """A query parameter that narrows a list; `condition` raises `Invalid` for what it is not.

    `default` is what it is taken for when it is left out.
    """

    condition: Callable[[str], Q]
    schema: Schema
    default: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Listing(Generic[S]):
    """What can be asked of one list.

    `search` are the columns in which words are looked for, `ordering` what a list can be ordered
    by, each by its name on the wire.
    """

    shape: Shape[S]
    filters: Mapping[str, Filter] = field(default_factory=dict)
    search: tuple[str, ...] = ()
    ordering: Mapping[str, Key] = field(default_factory=dict)

    def select(self, rows: Rows, parameters: QueryDict) -> Rows:
        """The rows that are asked for, in the order asked for.

        What cannot be asked for is found out when the query is composed.
        """
        names = (*self.filters, *_ALWAYS)
        asked = tuple((name, parameters[name]) for name in names if parameters.get(name))
        is_short = sum(len(value) for _name, value in asked) <= _LONGEST_KEPT
        return Rows(self._query, (rows, asked), is_kept=is_short)

    def _query(self, rows: Rows, asked: Iterable[tuple[str, str]]) -> QuerySet[Any]:
        """The query of the rows that are asked for. Raises `Invalid`."""
        parameters = dict(asked)
        narrowed = self._narrowed(rows.query(), parameters)
        return narrowed.order_by(*self._order(parameters))

    def _narrowed(self, rows: QuerySet[Any], parameters: Mapping[str, str]) -> QuerySet[Any]:
        given = Given()
        for name, one in self.filters.items():
            sent = parameters.get(name, "") or one.default
            if sent:
                try:
                    rows = rows.filter(one.condition(sent))
                except Invalid as error:
                    for problem in error.problems:
                        given.refuse(name, problem.code, problem.message)
        given.check()
        words = parameters.get("search", "").split() if self.search else []
        return rows.filter(*(self._containing(word) for word in words))

    def _containing(self, word: str) -> Q:
        if not is_storable(word):
            return _NOTHING
        return reduce(or_, (Q(**{f"{column}__icontains": word}) for column in self.search))

    def _order(self, parameters: Mapping[str, str]) -> Iterator[Any]:
        """The order asked for, as far as it is known; the id decides what it leaves open."""
        for name in parameters.get("ordering", "").split(","):
            expression = self.ordering.get(name.strip().removeprefix("-"))
            if expression is not None:
                descending = name.strip().startswith("-")
                yield OrderBy(expression, descending=descending)
        yield "pk"


def by_column(column: str) -> Key:
    """Order by a number, a time, a boolean or an id; nothing is the greatest."""
    return F(column)


def by_text(column: str) -> Key:
    """Order by the code points of a text."""
    return Collate(F(column), "C")


def text(column: str) -> Filter:
    """Exactly this text."""
    return Filter(
        lambda sent: Q(**{column: sent}) if is_storable(sent) else _NOTHING, {"type": "string"}
    )


def number(column: str) -> Filter:
    """Exactly this number, or the object of this id."""
    return by_number(lambda value: Q(**{column: value}))


def by_number(meaning: Callable[[int], Q]) -> Filter:
    """What a number, or the id of an object, stands for."""

    def condition(sent: str) -> Q:
        value = to_integer(sent)
        if value is None:
            raise _invalid("invalid", "Enter a number.")
        return meaning(value)

    return Filter(condition, {"type": "integer"})


def boolean(column: str) -> Filter:
    """What is so, or what is not."""

    def condition(sent: str) -> Q:
        value = to_boolean(sent)
        if value is None:
            raise _invalid("invalid", "Must be a valid boolean.")
        return Q(**{column: value})

    return Filter(condition, {"type": "boolean"})


def choice(column: str, choices: Iterable[str]) -> Filter:
    """One of some letters or words, in either case."""
    by_key = {str(one).casefold(): str(one) for one in choices}

    def condition(sent: str) -> Q:
        if sent.casefold() not in by_key:
            message = f"Select a valid choice. {sent} is not one of the available choices."
            raise _invalid("invalid_choice", message)
        return Q(**{column: by_key[sent.casefold()]})

    return Filter(condition, {"type": "string", "enum": list(by_key.values())})


def region(column: str) -> Filter:
    """A region, by id or name; the column holds names."""

    def condition(sent: str) -> Q:
        found = to_region(sent)
        if found is None and to_integer(sent) is None:
            raise _invalid("invalid", "Enter a region.")
        return Q(**{column: found.name}) if found else _NOTHING

    return Filter(condition, {"type": "string"})


def from_time(column: str) -> Filter:
    """From this time on."""
    return _time(f"{column}__gte")


def to_time(column: str) -> Filter:
    """Before this time."""
    return _time(f"{column}__lt")


def _time(lookup: str) -> Filter:
    def condition(sent: str) -> Q:
        try:
            return Q(**{lookup: times.parse(sent)})
        except ValueError as error:
            raise _invalid("invalid", f"Enter a valid time: {error}.") from None

    return Filter(condition, {"type": "string", "format": "date-time"})


def _invalid(code: str, message: str) -> Invalid:
    return Invalid(Problem(code, message))
