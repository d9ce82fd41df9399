"""`cpm migrate` on a PostgreSQL that others look after."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.cli.commands import cpm

MAKE_IT = "CREATE EXTENSION pg_trgm"


@pytest.fixture
def theirs(database_url: str) -> Iterator[str]:
    """A database in which the server's user may make tables and no more."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute("CREATE DATABASE theirs")
        connection.execute("REVOKE CREATE ON DATABASE theirs FROM CURRENT_USER")
    yield database_url.replace(f"/{name}?", "/theirs?")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE theirs WITH (FORCE)")


def test_who_may_not_make_an_extension_is_told_what_to_do(theirs: str, tmp_path: Path) -> None:
    told = cpm("migrate", DATABASE_URL=theirs, CPM_DATA=str(tmp_path))
    assert told.returncode == 1
    assert MAKE_IT in told.stderr
    assert "Traceback" not in told.stderr
    with psycopg.connect(theirs, autocommit=True) as administrator:
        administrator.execute("GRANT CREATE ON DATABASE theirs TO CURRENT_USER")
        administrator.execute(MAKE_IT)
        administrator.execute("REVOKE CREATE ON DATABASE theirs FROM CURRENT_USER")
    done = cpm("migrate", DATABASE_URL=theirs, CPM_DATA=str(tmp_path))
    assert done.returncode == 0, done.stderr
