"""What the ORM says too slowly: many rows in one statement, or one as it is.

Django's `bulk_update` changes them with a CASE for each column, which takes sixteen times the CPU
here, and PostgreSQL's grows with the square of the rows.
"""

from collections.abc import Iterable, Iterator, Sequence
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
    with connection.cursor() as cursor:
        cursor.execute(_holding(model, column), [list(pks)])
        return dict(cursor.fetchall())


def update(rows: Iterable[Model], names: Sequence[str], alike: Sequence[str] = ()) -> None:
    """Store the named columns of rows that are stored already. A row that is gone stays gone.

    Columns that are `alike` in all the rows are said once in a statement.
    """
    for batch in _batches(rows):
        statement, values = _update(batch, names, alike)
        with connection.cursor() as cursor:
            cursor.execute(statement, values)


def update_unchanged(
    rows: Iterable[Model], names: Sequence[str], alike: Sequence[str] = ()
) -> set[int]:
    """The same for those whose stored `version` is one less than theirs; says which these were.

    It holds them as `hold` does, in the same statement, and needs no transaction for that.
    """
    updated = set[int]()
    for batch in _batches(rows):
        held = f" JOIN ({_holding(type(batch[0]), 'version')}) AS held ON held.id = changed.id"
        statement, values = _update(batch, names, alike, held)
        statement += " AND held.version = changed.version - 1 RETURNING changed.id"
        with connection.cursor() as cursor:
            cursor.execute(statement, [*values, [row.pk for row in batch]])
            updated.update(pk for (pk,) in cursor.fetchall())
    return updated


def _holding(model: type[Model], column: str) -> str:
    """A statement that holds rows by their ids, in the same order whoever does it."""
    return (
        f"SELECT id, {connection.ops.quote_name(column)} FROM {_table(model)}"  # noqa: S608 - ours
        " WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
    )


def _batches(rows: Iterable[Model]) -> Iterator[Sequence[Model]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, _ROWS_PER_STATEMENT)):
        yield batch


def _update(
    rows: Sequence[Model], names: Sequence[str], alike: Sequence[str], joined: str = ""
) -> tuple[str, list[Any]]:
    """The statement, and its parameters but for those of what is joined to the changes."""
    meta = type(rows[0])._meta  # noqa: SLF001 - public in all but name
    by_name = {field.name: field for field in meta.concrete_fields}
    fields, same = ([by_name[name] for name in each] for each in (("id", *names), alike))
    columns = [_column(field) for field in fields]
    table = _table(type(rows[0]))
    row = f"({', '.join(f'%s::{_type(field)}' for field in fields)})"
    changes = [f"{_column(field)} = %s::{_type(field)}" for field in same]
    changes += [f"{column} = changed.{column}" for column in columns[1:]]
    # Only names of our own go into the statement; values are parameters.
    statement = (
        f"UPDATE {table} SET {', '.join(changes)}"  # noqa: S608
        f" FROM (VALUES {', '.join([row] * len(rows))}) AS changed ({', '.join(columns)}){joined}"
        f" WHERE {table}.{columns[0]} = changed.{columns[0]}"
    )
    values = [_value(field, rows[0]) for field in same]
    values += [_value(field, each) for each in rows for field in fields]
    return statement, values


def _table(model: type[Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)  # noqa: SLF001 - public in all but name


def _column(field: "Field[Any, Any]") -> str:
    return connection.ops.quote_name(str(field.column))


def _value(field: "Field[Any, Any]", row: Model) -> Any:
    return field.get_db_prep_save(getattr(row, field.attname), connection)


def _type(field: "Field[Any, Any]") -> str:
    """A column's type, without its length: too long a text is to be refused, and not cut."""
    return str(field.db_type(connection)).partition("(")[0]
