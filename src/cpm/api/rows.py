"""The read path of every list and object: SQL, run where nothing stands in the way.

psycopg runs it on a bare cursor in binary form, because turning rows into model instances and
texts into times would cost many times what PostgreSQL and the encoder need. Rows arrive as tuples,
in chunks, while the query still runs.
"""

from collections.abc import Generator
from contextlib import closing
from itertools import islice
from typing import Any, cast

import msgspec
import psycopg
from django.db import connection
from psycopg.abc import Buffer
from psycopg.pq import Format
from psycopg.rows import tuple_row

from cpm.api.statements import Statement

Row = tuple[Any, ...]

CHUNK_ROWS = 1000


class _JsonLoader(psycopg.adapt.Loader):
    """Reads `jsonb` twenty times as fast as the default."""

    format = Format.BINARY

    def load(self, data: Buffer) -> Any:
        return msgspec.json.decode(memoryview(data)[1:])  # the first byte is the format's version


def chunks(statement: Statement) -> Generator[list[Row], None, None]:
    """The rows that a statement selects, at most `CHUNK_ROWS` at a time.

    Nothing is held back: a chunk is let go of when the next one is asked for. While it runs, the
    thread's database connection is taken; close the iterator to end it early.
    """
    with closing(_stream(statement)) as stream:
        while chunk := list(islice(stream, CHUNK_ROWS)):
            yield chunk


def few(statement: Statement) -> list[Row]:
    """The rows that a statement selects, where they are no more than a page."""
    return [row for chunk in chunks(statement) for row in chunk]


def _stream(statement: Statement) -> Generator[Row, None, None]:
    """Run a statement and yield its rows as the server sends them."""
    with connection.cursor(), connection.wrap_database_errors:
        raw = cast("psycopg.Connection[Any]", connection.connection)
        # Parameters are bound here, as Django does it: the server then sees plain literals.
        bound = psycopg.ClientCursor(raw).mogrify(statement.sql, statement.parameters)
        _note(bound)
        cursor = psycopg.Cursor(raw, row_factory=tuple_row)
        cursor.adapters.register_loader("jsonb", _JsonLoader)
        yield from cursor.stream(bound.encode(), binary=True, size=CHUNK_ROWS)


def _note(statement: str) -> None:
    """Keep Django's log of queries true where somebody reads it."""
    if connection.queries_logged:
        connection.queries_log.append({"sql": statement, "time": "0.000"})
