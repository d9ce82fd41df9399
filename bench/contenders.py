"""The three ways to read backup records that are compared, behind one face."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import msgspec
import psycopg
from django.db import connection

from bench.client import Client
from bench.database import database_url
from cpm.api.backups import SHAPE
from cpm.queries import backups, people

PAGE_ROWS = 50
_CHUNK_ROWS = 1000


class Contender(Protocol):
    """Something that tells of backup records in JSON."""

    def one(self, backup_id: int) -> bytes:
        """One record."""

    def page(self, number: int) -> bytes:
        """A page of `PAGE_ROWS` records, with the count of all."""

    def every(self) -> Iterator[bytes]:
        """All records, as they come."""

    def postgres_pid(self) -> int:
        """The process that does PostgreSQL's part."""


class OverHttp:
    """A view, from the WSGI handler on."""

    def __init__(self, client: Client, base: str) -> None:
        self._client = client
        self._base = base

    def one(self, backup_id: int) -> bytes:
        """See `Contender`."""
        return self._client.get(f"{self._base}{backup_id}/")

    def page(self, number: int) -> bytes:
        """See `Contender`."""
        return self._client.get(f"{self._base}?page={number}&page_size={PAGE_ROWS}")

    def every(self) -> Iterator[bytes]:
        """See `Contender`."""
        return self._client.parts(self._base)

    def postgres_pid(self) -> int:
        """See `Contender`."""
        connection.ensure_connection()
        return int(connection.connection.info.backend_pid)


class Floor:
    """What it costs at least: the API's statements on a bare connection, encoded by msgspec.

    No HTTP, no token, no Django; statements are made once, and PostgreSQL keeps their plans.
    """

    def __init__(self) -> None:
        self._connection = psycopg.connect(database_url(), autocommit=True)
        self._whole = self._statement(many=True)
        self._one = self._narrowed("%s")
        self._page = self._narrowed(
            "ANY(ARRAY(SELECT id FROM cpm_backup WHERE discarded_at IS NULL"
            " ORDER BY id LIMIT %s OFFSET %s))"
        )
        self._count = "SELECT count(*) FROM cpm_backup WHERE discarded_at IS NULL"

    def one(self, backup_id: int) -> bytes:
        """See `Contender`."""
        with self._cursor() as cursor:
            row = cursor.execute(self._one, [backup_id]).fetchone()
            return msgspec.json.encode(row and SHAPE.build(*row))

    def page(self, number: int) -> bytes:
        """See `Contender`."""
        first = (number - 1) * PAGE_ROWS
        with self._cursor() as cursor:
            rows = cursor.execute(self._page, [PAGE_ROWS, first]).fetchall()
            (count,) = cursor.execute(self._count).fetchone() or (0,)
        results = [SHAPE.build(*row) for row in rows]
        return msgspec.json.encode({"count": count, "results": results})

    def every(self) -> Iterator[bytes]:
        """See `Contender`."""
        chunk = []
        opening = b"["
        for row in self._cursor().stream(self._whole, size=_CHUNK_ROWS):
            chunk.append(SHAPE.build(*row))
            if len(chunk) == _CHUNK_ROWS:
                yield opening + msgspec.json.encode(chunk)[1:-1]
                opening = b","
                chunk.clear()
        yield opening + msgspec.json.encode(chunk)[1:]

    def postgres_pid(self) -> int:
        """See `Contender`."""
        return self._connection.info.backend_pid

    def _narrowed(self, ids: str) -> str:
        every = self._statement(many=False)
        return every.replace(" ORDER BY", f' AND "cpm_backup"."id" = {ids} ORDER BY')

    def _statement(self, *, many: bool) -> str:
        rows = backups.listed(people.operator(), many=many).order_by("pk")
        sql, parameters = rows.values_list(*SHAPE.columns).query.sql_with_params()
        return psycopg.ClientCursor(self._connection).mogrify(sql, parameters)

    def _cursor(self) -> psycopg.Cursor[tuple[Any, ...]]:
        return self._connection.cursor(binary=True)


MAKERS: Mapping[str, Callable[[str], Contender]] = {
    "api": lambda token: OverHttp(Client(token), "/api/backups/"),
    "plain": lambda token: OverHttp(Client(token), "/plain/backups/"),
    "floor": lambda _: Floor(),
}
