"""Whether the server's inner parts are well: database, tables, workers."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from cpm.engine import outages, queue

OLDEST_POSTGRES = 150000
TABLES_ADVICE = "Run `cpm migrate`."
DATABASE_ADVICE = "Check DATABASE_URL, and that its PostgreSQL runs and accepts this machine."


@dataclass(frozen=True)
class Health:
    """One answer; `advice` says what to do when it is not `ok`."""

    check: str
    ok: bool
    detail: str
    advice: str = ""


def checks() -> Iterator[Health]:
    """Every check; after one that is not well, those that need what it looked at are left out."""
    for check in (_database, _tables, workers):
        found = check()
        yield found
        if not found.ok:
            return


def of_serving() -> Iterator[Health]:
    """The checks without which nothing can be answered."""
    return islice(checks(), 2)


def _database() -> Health:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version_num")
            number = int(cursor.fetchone()[0])
    except DatabaseError as error:
        return Health(
            "database",
            ok=False,
            detail=outages.reason(error),
            advice=DATABASE_ADVICE,
        )
    if number < OLDEST_POSTGRES:
        return Health(
            "database",
            ok=False,
            detail=f"PostgreSQL {number // 10000} is too old",
            advice="Use PostgreSQL 15 or newer.",
        )
    return Health("database", ok=True, detail=f"PostgreSQL {number // 10000} answers")


def _tables() -> Health:
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if pending:
        return Health(
            "tables",
            ok=False,
            detail=f"{len(pending)} migrations are not applied",
            advice=TABLES_ADVICE,
        )
    return Health("tables", ok=True, detail="up to date")


def workers() -> Health:
    """Whether somebody does the work."""
    count = queue.live_workers()
    if count == 0:
        return Health(
            "workers",
            ok=False,
            detail="no worker is alive; nothing is backed up",
            advice="Start `cpm serve`, or `cpm worker`, and look at its log.",
        )
    return Health("workers", ok=True, detail=f"{count} alive")
