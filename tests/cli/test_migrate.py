"""`cpm migrate` on a PostgreSQL that others look after."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection

from tests.cli.commands import cpm

MAKE_IT = "CREATE EXTENSION pg_trgm"


@pytest.fixture
def before_searches(database_url: str) -> Iterator[str]:
    """A database of an older version, in which the server's user may make tables and no more."""
    execute("DROP EXTENSION pg_trgm CASCADE")
    execute("DELETE FROM django_migrations WHERE app = 'cpm' AND name LIKE '%_searches'")
    may_make_extensions(False)
    yield database_url
    may_make_extensions(True)
    call_command("migrate", verbosity=0)


def may_make_extensions(may: bool) -> None:
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    verb, whom = ("GRANT", "TO") if may else ("REVOKE", "FROM")
    execute(f"{verb} CREATE ON DATABASE {name} {whom} CURRENT_USER")


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_who_may_not_make_an_extension_is_told_what_to_do(
    before_searches: str, tmp_path: Path
) -> None:
    told = cpm("migrate", DATABASE_URL=before_searches, CPM_DATA=str(tmp_path))
    assert told.returncode == 1
    assert MAKE_IT in told.stderr
    assert "Traceback" not in told.stderr
    may_make_extensions(True)
    execute(MAKE_IT)
    may_make_extensions(False)
    done = cpm("migrate", DATABASE_URL=before_searches, CPM_DATA=str(tmp_path))
    assert done.returncode == 0, done.stderr
