"""What the ORM says too slowly: many rows in one statement, or one as it is.

Django's `bulk_update` changes them with a CASE for each column, which takes sixteen times the CPU
here, and PostgreSQL's grows with the square of the rows.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Field, Model, QuerySet
from django.db.models.expressions import RawSQL

_ROWS_PER_STATEMENT = 500

AnyModel = TypeVar("AnyModel", bound=Model)


def ids(wanted: Iterable[int]) -> RawSQL:
    """For `pk__in`, ids that may be many, as one parameter.

    By itself Django makes one of each, which for some hundreds, in a query that others contain,
    takes more CPU here than all else that the statements do.
    """
    return RawSQL("SELECT unnest(%s::bigint[])", [list(wanted)])


def one(rows: "QuerySet[AnyModel]") -> AnyModel | None:
    """The row of a query of which there is one at most.

    `first()` has it sorted, for which the ORM compares all columns, of related tables as well: with
    many of them that takes longer than all else.
    """
    return next(iter(rows), None)


def hold(model: type[Model], pks: Sequence[int], column: str) -> dict[int, Any]:
    """One column of rows, by id; they stay as they are until the transaction ends.

    Each job does so several times, and the ORM takes four times as long to say it.
    """
    table = connection.ops.quote_name(model._meta.db_table)  # noqa: SLF001 - public in all but name
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id, {connection.ops.quote_name(column)} FROM {table}"  # noqa: S608 - our names
            " WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE",
            [list(pks)],
        )
        return dict(cursor.fetchall())


def update(rows: Iterable[Model], names: Sequence[str], alike: Sequence[str] = ()) -> None:
    """Store the named columns of rows that are stored already. A row that is gone stays gone.

    Columns that are `alike` in all the rows are said once in a statement.
    """
    remaining = iter(rows)
    while batch := list(islice(remaining, _ROWS_PER_STATEMENT)):
        _update(batch, names, alike)


def _update(rows: Sequence[Model], names: Sequence[str], alike: Sequence[str]) -> None:
    meta = type(rows[0])._meta  # noqa: SLF001 - public in all but name
    by_name = {field.name: field for field in meta.concrete_fields}
    fields, same = ([by_name[name] for name in each] for each in (("id", *names), alike))
    columns = [_column(field) for field in fields]
    table = connection.ops.quote_name(meta.db_table)
    row = f"({', '.join(f'%s::{_type(field)}' for field in fields)})"
    changes = [f"{_column(field)} = %s::{_type(field)}" for field in same]
    changes += [f"{column} = changed.{column}" for column in columns[1:]]
    # Only names of our own go into the statement; values are parameters.
    statement = (
        f"UPDATE {table} SET {', '.join(changes)}"  # noqa: S608
        f" FROM (VALUES {', '.join([row] * len(rows))}) AS changed ({', '.join(columns)})"
        f" WHERE {table}.{columns[0]} = changed.{columns[0]}"
    )
    values = [_value(field, rows[0]) for field in same]
    values += [_value(field, each) for each in rows for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def _column(field: "Field[Any, Any]") -> str:
    return connection.ops.quote_name(str(field.column))


def _value(field: "Field[Any, Any]", row: Model) -> Any:
    return field.get_db_prep_save(getattr(row, field.attname), connection)


def _type(field: "Field[Any, Any]") -> str:
    """A column's type, without its length: too long a text is to be refused, and not cut."""
    return str(field.db_type(connection)).partition("(")[0]
