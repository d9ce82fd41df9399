"""The read path of every list and object: a query's SQL, run where nothing stands in the way.

Django builds the SQL, because it knows the tables, and psycopg runs it on a bare cursor in binary
form, because turning rows into model instances and texts into times would cost many times what
PostgreSQL and the encoder need. Rows arrive as tuples, in chunks, while the query still runs.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, cast

import msgspec
import psycopg
from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import DateTimeField, F, Func, Model, QuerySet
from psycopg.abc import Buffer
from psycopg.pq import Format
from psycopg.rows import tuple_row

Row = tuple[Any, ...]

CHUNK_ROWS = 1000


class _ToTheSecond(Func):
    """A time cut to the second, as all times leave the API."""

    template = "date_trunc('second', %(expressions)s)"
    output_field = DateTimeField()


class _JsonLoader(psycopg.adapt.Loader):
    """Reads `jsonb` twenty times as fast as the default."""

    format = Format.BINARY

    def load(self, data: Buffer) -> Any:
        return msgspec.json.decode(memoryview(data)[1:])  # the first byte is the format's version


def chunks(rows: QuerySet[Any], columns: tuple[str, ...]) -> Generator[list[Row], None, None]:
    """The columns of these rows, at most `CHUNK_ROWS` at a time.

    Nothing is held back: a chunk is let go of when the next one is asked for. While it runs, the
    thread's database connection is taken; close the iterator to end it early.
    """
    times = _times_among(columns, rows)
    selected = (_ToTheSecond(column) if column in times else column for column in columns)
    try:
        sql, parameters = rows.values_list(*selected).query.sql_with_params()
    except EmptyResultSet:
        return
    with closing(_stream(sql, parameters)) as stream:
        while chunk := list(islice(stream, CHUNK_ROWS)):
            yield chunk


def _times_among(columns: tuple[str, ...], rows: QuerySet[Any]) -> frozenset[str]:
    """Which of the columns are times. The same columns of a table always are."""
    key = (rows.model, columns)
    if key not in _known_times:
        query = rows.query.clone()
        fields = {name: F(name).resolve_expression(query).output_field for name in columns}
        _known_times[key] = frozenset(
            name for name, field in fields.items() if isinstance(field, DateTimeField)
        )
    return _known_times[key]


_known_times: dict[tuple[type[Model], tuple[str, ...]], frozenset[str]] = {}


def _stream(sql: str, parameters: Sequence[object]) -> Generator[Row, None, None]:
    """Run a statement and yield its rows as the server sends them."""
    with connection.cursor(), connection.wrap_database_errors:
        raw = cast("psycopg.Connection[Any]", connection.connection)
        # Parameters are bound here, as Django does it: the server then sees plain literals.
        statement = psycopg.ClientCursor(raw).mogrify(sql, parameters)
        _note(statement)
        cursor = psycopg.Cursor(raw, row_factory=tuple_row)
        cursor.adapters.register_loader("jsonb", _JsonLoader)
        yield from cursor.stream(statement.encode(), binary=True, size=CHUNK_ROWS)


def _note(statement: str) -> None:
    """Keep Django's log of queries true where somebody reads it."""
    if connection.queries_logged:
        connection.queries_log.append({"sql": statement, "time": "0.000"})
