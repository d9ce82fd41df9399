"""How a command gets at the server: its environment, and its database if it needs one.

Django reads its settings when it is imported first, so the data directory has to be known before.
Commands that need the database therefore import services inside the function, after `connect`.
"""

import os
from dataclasses import replace
from pathlib import Path

import django

from cpm.cli.terminal import fail
from cpm.config import environment, logs
from cpm.config.environment import Environment
from cpm.postgres.errors import PostgresError
from cpm.postgres.process import connect_uri
from cpm.server.data import DataDirectory


def read_environment(data: Path | None) -> Environment:
    """The environment, with `--data` in place of `CPM_DATA`; sets up logging."""
    if data is not None:
        os.environ["CPM_DATA"] = str(data.absolute())
    settings = environment.read()
    logs.configure(settings)
    return settings


def connect(data: Path | None) -> Environment:
    """Makes Django ready to use the database of a running server; ends the command if none runs."""
    settings = with_aws_of_demo(read_environment(data))
    if not settings.database_url:
        settings = replace(settings, database_url=_embedded_uri(settings))
        os.environ["DATABASE_URL"] = settings.database_url
    os.environ["DJANGO_SETTINGS_MODULE"] = "cpm.config.settings"
    django.setup()
    return settings


def database_trouble(error: Exception) -> str:
    """What to tell about an error if the database is away or not set up; else nothing."""
    from django.db import InterfaceError, OperationalError, ProgrammingError
    from psycopg.errors import UndefinedColumn, UndefinedTable

    if not isinstance(error, (OperationalError, InterfaceError, ProgrammingError)):
        return ""
    from cpm.engine import outages
    from cpm.queries.health import DATABASE_ADVICE, TABLES_ADVICE

    if not isinstance(error, ProgrammingError):
        return f"The database does not answer ({outages.reason(error)}). {DATABASE_ADVICE}"
    if isinstance(error.__cause__, (UndefinedTable, UndefinedColumn)):
        return f"The tables of the database are not those of this version. {TABLES_ADVICE}"
    return ""


def with_aws_of_demo(settings: Environment) -> Environment:
    """The settings as they are beside a running demo: nothing there may reach the real AWS."""
    endpoint = DataDirectory(settings.data).aws_endpoint
    if not settings.aws_endpoint and endpoint.exists():
        settings = replace(settings, aws_endpoint=endpoint.read_text().strip())
        os.environ["CPM_AWS_ENDPOINT"] = settings.aws_endpoint
    return settings


def _embedded_uri(settings: Environment) -> str:
    directory = DataDirectory(settings.data).postgres
    if not directory.exists():
        fail(
            f"There is no server in {settings.data}. Name its data directory with --data, "
            "or its database with DATABASE_URL."
        )
    try:
        return connect_uri(directory)
    except PostgresError as error:
        fail(f"{error} Start the server with `cpm serve`, or set DATABASE_URL.")
