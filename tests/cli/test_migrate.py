"""`cpm migrate` on a PostgreSQL that others look after."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from cpm.kernel import clock
from tests.cli.commands import START_SECONDS, cpm, start

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


def test_without_tables_commands_and_the_doctor_say_what_to_do(theirs: str, tmp_path: Path) -> None:
    environment = {"DATABASE_URL": theirs, "CPM_DATA": str(tmp_path)}
    refused = cpm("user", "list", **environment)
    assert (refused.returncode, refused.stdout) == (1, "")
    (told,) = refused.stderr.splitlines()
    assert "cpm migrate" in told
    nowhere = "http://127.0.0.1:9"
    found = json.loads(cpm("doctor", "--json", CPM_AWS_ENDPOINT=nowhere, **environment).stdout)
    assert [(each["check"], each["ok"]) for each in found][-2:] == [
        ("database", True),
        ("tables", False),
    ]
    assert "cpm migrate" in found[-1]["advice"]


def test_a_worker_waits_for_the_tables_and_says_so(theirs: str, tmp_path: Path) -> None:
    output = tmp_path / "output"
    environment = {"DATABASE_URL": theirs, "CPM_DATA": str(tmp_path)}
    worker = start("worker", output=output, CPM_AWS_ENDPOINT="http://127.0.0.1:9", **environment)

    def wait_for(condition: Callable[[], bool]) -> None:
        assert clock.wait_until(condition, timeout_seconds=START_SECONDS), output.read_text()

    try:
        wait_for(lambda: "worker.waits_for_tables" in output.read_text())
        with psycopg.connect(theirs, autocommit=True) as administrator:
            administrator.execute("GRANT CREATE ON DATABASE theirs TO CURRENT_USER")
            assert cpm("migrate", **environment).returncode == 0
            working = "SELECT EXISTS (SELECT FROM procrastinate_workers)"
            wait_for(lambda: administrator.execute(working).fetchone() == (True,))
        worker.terminate()
        assert worker.wait(START_SECONDS) == 0
    finally:
        worker.kill()
    told = [line for line in output.read_text().splitlines() if "worker.stopped" not in line]
    assert len(told) == 1, told
    assert "cpm migrate" in told[0]


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
