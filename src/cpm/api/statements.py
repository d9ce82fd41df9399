"""What is asked of the database, as SQL that is made once for all who ask the same.

To compose a query with Django and to turn it into SQL takes many times as long as to read a record
with it, and what comes out depends on nothing but the function that composes it and its arguments.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db.models import BooleanField, DateTimeField, F, Func, QuerySet, Value
from django.db.models.lookups import GreaterThanOrEqual

_MOST_KEPT = 1000

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows, as the function that composes their query and what it is called with.

    Equal ones stand for equal queries: the function may look at nothing but its arguments.
    """

    compose: Callable[..., QuerySet[Any]]
    arguments: tuple[Hashable, ...] = ()
    named: tuple[tuple[str, Hashable], ...] = ()
    # Whether others will ask the same: what is long is rare, and would fill the memory.
    is_kept: bool = field(default=True, compare=False)

    def query(self) -> QuerySet[Any]:
        """The query, composed anew."""
        return self.compose(*self.arguments, **dict(self.named))


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with its parameters. Times among the columns are cut to the second."""

    sql: str
    parameters: tuple[Any, ...]

    def part(self, which: slice) -> "Statement":
        """Some of the rows only."""
        size = which.stop - which.start
        return Statement(f"{self.sql} LIMIT {size} OFFSET {which.start}", self.parameters)

    def naming(self, wanted: int | Sequence[int]) -> "Statement":
        """The statement with what it was left open for: the ids of `named`, or the one id of
        `following`.
        """
        given = (wanted if one is _WANTED else one for one in self.parameters)
        return Statement(self.sql, tuple(given))


def _kept(
    make: Callable[Concatenate[Rows, P], R],
) -> Callable[Concatenate[Rows, P], R]:
    """Find each answer about rows once, where the rows are worth it."""
    keep = lru_cache(_MOST_KEPT)(make)

    @wraps(make)
    def made(rows: Rows, /, *rest: P.args, **named: P.kwargs) -> R:
        if rows.is_kept:
            return keep(rows, *rest, **named)  # type: ignore[arg-type]  # columns are hashable
        return make(rows, *rest, **named)

    return made


@_kept
def every(rows: Rows, columns: tuple[str, ...]) -> Statement:
    """All of the rows, in their order."""
    return _statement(rows.query(), columns)


@_kept
def named(rows: Rows, columns: tuple[str, ...]) -> Statement:
    """Those of the rows, in their order, whose ids `Statement.naming` gives."""
    return _statement(rows.query().filter(_IsOneOf("pk", Value(_WANTED))), columns)


@_kept
def following(rows: Rows, columns: tuple[str, ...]) -> Statement:
    """Those of the rows, in the order of ids, from the id on that `Statement.naming` gives."""
    is_from = GreaterThanOrEqual(F("pk"), Value(_WANTED))
    return _statement(rows.query().filter(is_from).order_by("pk"), columns)


@_kept
def are_in_order_of_ids(rows: Rows) -> bool:
    """Whether their query says so."""
    return rows.query().query.order_by == ("pk",)


@_kept
def count(rows: Rows) -> Statement:
    """One row: how many there are."""
    ids = _statement(rows.query().order_by(), ("pk",))
    return Statement(f"SELECT count(*) FROM ({ids.sql}) AS counted", ids.parameters)  # noqa: S608


class _ToTheSecond(Func):
    """A time cut to the second, as all times leave the API."""

    template = "date_trunc('second', %(expressions)s)"
    output_field = DateTimeField()


# Stands among the parameters for what is not known yet.
_WANTED = object()


class _IsOneOf(Func):
    """Whether the first is among the elements of the second."""

    template = "%(expressions)s)"
    arg_joiner = " = ANY("
    output_field = BooleanField()


def _statement(query: QuerySet[Any], columns: tuple[str, ...]) -> Statement:
    selected = (_ToTheSecond(name) if _is_time(query, name) else name for name in columns)
    try:
        return Statement(*query.values_list(*selected).query.sql_with_params())
    except EmptyResultSet:
        return Statement("SELECT WHERE false", ())


def _is_time(query: QuerySet[Any], column: str) -> bool:
    expression: Any = F(column).resolve_expression(query.query.clone())
    return isinstance(expression.output_field, DateTimeField)
