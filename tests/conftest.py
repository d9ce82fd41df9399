"""What every test may use: a real PostgreSQL, started by the first test that asks for it.

Fixtures `db` and `transactional_db` are pytest-django's. `database` is for tests whose work is
done by other threads and processes: its commits are real, and it starts empty, queue included.
With `DATABASE_URL` set, that server is used; each process of the tests has a database of its own.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import django
import pytest
from xdist.scheduler import LoadFileScheduling

from cpm.kernel import memory

# Before much is imported: nothing of that is garbage.
memory.settle()
# Django reads its settings when they are first used, and other conftests import models.
_DATA = tempfile.TemporaryDirectory(prefix="cpm-tests-")
os.environ["CPM_DATA"] = _DATA.name
os.environ["CPM_SECRET_KEY"] = "the key of the tests"
os.environ["DJANGO_SETTINGS_MODULE"] = "cpm.config.settings"
django.setup()

from django.db import connection, connections  # noqa: E402

from cpm.config.database import connection_settings  # noqa: E402
from cpm.config.environment import Environment  # noqa: E402
from cpm.postgres.process import EmbeddedPostgres  # noqa: E402


class _Scheduling(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """What is done by one process: the tests of a file, as they share fixtures.

    Those of the command line share a running demo; those of crashes share nothing, and take long.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        if file.startswith("tests/crash/"):
            return nodeid
        return "tests/cli" if file.startswith("tests/cli/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Hand the tests to the processes by what they share."""
    return _Scheduling(config, log)


def pytest_collection_finish() -> None:
    """Look for garbage as the server does: not among what has been imported."""
    memory.settle()


def pytest_unconfigure() -> None:
    """Take the data directory away."""
    _DATA.cleanup()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None,
) -> Iterator[None]:
    """Start the embedded PostgreSQL, unless `DATABASE_URL` names another server."""
    if os.environ.get("DATABASE_URL"):
        yield
        return

    with EmbeddedPostgres(Path(_DATA.name) / "postgres", durable=False) as server:
        settings = connection_settings(Environment(database_url=server.uri))
        connections["default"].settings_dict.update(settings)
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Let tests empty all tables, also the one of which nobody else may delete."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE cpm_auditentry DISABLE TRIGGER cpm_audit_no_truncate")
    connection.ops.sql_flush = _emptying  # type: ignore[assignment,method-assign]  # see there


@pytest.fixture
def database(transactional_db: None) -> None:
    """A database for work in several threads or processes; nothing of other tests is in it."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs; DELETE FROM procrastinate_workers")


@pytest.fixture
def database_url(database: None) -> str:
    """The address of the test's database, for the `DATABASE_URL` of child processes."""
    return url_of(connection.settings_dict)


def _emptying(_style: object, tables: Iterable[str], **_: object) -> list[str]:
    """Statements that empty tables as transactional tests end: a tenth of the work of Django's.

    Those truncate all of them, which makes new files for each and for each of its indexes, and then
    write down again what there is in Django.
    """
    names = ", ".join(f"'{name}'" for name in sorted(set(tables) - _DJANGOS))
    return [_EMPTY.replace("TABLES", names)]


_DJANGOS = {"django_content_type", "auth_permission"}
# Nothing may be deleted from the audit trail.
_EMPTY = """\
DO $$
DECLARE name text; is_filled boolean;
BEGIN
    FOREACH name IN ARRAY ARRAY[TABLES] LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO is_filled;
        IF is_filled AND name = 'cpm_auditentry' THEN
            TRUNCATE cpm_auditentry;
        ELSIF is_filled THEN
            EXECUTE format('DELETE FROM %I', name);
        END IF;
    END LOOP;
END $$"""


def url_of(settings: dict[str, Any]) -> str:
    """The libpq URI of a Django database entry."""
    query = {**settings["OPTIONS"], "host": settings["HOST"]}
    if settings["PORT"]:
        query["port"] = settings["PORT"]
    login = f"{quote(settings['USER'], safe='')}:{quote(settings['PASSWORD'], safe='')}"
    return f"postgresql://{login}@/{quote(settings['NAME'])}?{urlencode(query)}"
