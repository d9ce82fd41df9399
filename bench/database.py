"""The database of a benchmark: an embedded PostgreSQL with the product's tables, soon lost."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management import call_command
from django.db import connection, connections

from cpm.config.database import connection_settings
from cpm.config.environment import Environment
from cpm.postgres.process import EmbeddedPostgres


def database_url() -> str:
    """The libpq URI of the benchmark's database."""
    return os.environ["DATABASE_URL"]


@contextmanager
def empty_database(*, durable: bool = False) -> Iterator[None]:
    """Tables without rows, for this process and, by `DATABASE_URL`, for its children.

    One that is not durable does not wait for the disk.
    """
    with (
        tempfile.TemporaryDirectory(prefix="cpm-bench-") as directory,
        EmbeddedPostgres(Path(directory) / "postgres", durable=durable) as server,
    ):
        os.environ["DATABASE_URL"] = server.uri
        settings = connection_settings(Environment(database_url=server.uri))
        connections["default"].settings_dict.update(settings)
        call_command("migrate", interactive=False, verbosity=0)
        try:
            yield
        finally:
            connection.close()
