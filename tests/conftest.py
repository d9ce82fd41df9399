"""What every test may use: a real PostgreSQL, started by the first test that asks for it.

Fixtures `db` and `transactional_db` are pytest-django's. `database` is for tests whose work is
done by other threads and processes: its commits are real, and it starts empty, queue included.
With `DATABASE_URL` set, that server is used; each process of the tests has a database of its own.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

# Django reads its settings when it is first imported, so this stands before everything else.
_DATA = tempfile.TemporaryDirectory(prefix="cpm-tests-")
os.environ["CPM_DATA"] = _DATA.name
os.environ["CPM_SECRET_KEY"] = "the key of the tests"
os.environ["DJANGO_SETTINGS_MODULE"] = "cpm.config.settings"


def pytest_configure() -> None:
    """Make Django ready; pytest-django leaves that to us where its settings are not in an ini."""
    import django  # noqa: PLC0415 - the environment above comes first

    django.setup()


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
    from django.db import connections  # noqa: PLC0415 - Django is set up by now

    from cpm.config import database, environment  # noqa: PLC0415
    from cpm.postgres.process import EmbeddedPostgres  # noqa: PLC0415

    with EmbeddedPostgres(Path(_DATA.name) / "postgres", durable=False) as server:
        settings = database.connection_settings(environment.Environment(database_url=server.uri))
        connections["default"].settings_dict.update(settings)
        yield


@pytest.fixture
def database(transactional_db: None) -> None:
    """A database for work in several threads or processes; nothing of other tests is in it."""
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE procrastinate_jobs, procrastinate_workers RESTART IDENTITY CASCADE"
        )


@pytest.fixture
def database_url(database: None) -> str:
    """The address of the test's database, for the `DATABASE_URL` of child processes."""
    from django.db import connection  # noqa: PLC0415

    return url_of(connection.settings_dict)


def url_of(settings: dict[str, Any]) -> str:
    """The libpq URI of a Django database entry."""
    query = {**settings["OPTIONS"], "host": settings["HOST"]}
    if settings["PORT"]:
        query["port"] = settings["PORT"]
    login = f"{quote(settings['USER'], safe='')}:{quote(settings['PASSWORD'], safe='')}"
    return f"postgresql://{login}@/{quote(settings['NAME'])}?{urlencode(query)}"
