"""`cpm doctor`: finds what keeps a server from working, and says what to do."""

import os
from collections.abc import Iterator
from dataclasses import asdict

import typer

from cpm.cli.connection import read_environment, with_aws_of_demo
from cpm.cli.terminal import DataOption, JsonOption, print_json, print_line
from cpm.config.environment import Environment
from cpm.postgres.errors import PostgresError
from cpm.postgres.process import connect_uri
from cpm.server import doctor as checks
from cpm.server.data import DataDirectory
from cpm.server.doctor import Finding


def doctor(data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Check configuration, database, workers, AWS, clock and disk; exits 1 if anything is wrong."""
    settings = with_aws_of_demo(read_environment(data))
    findings = [*checks.machine_checks(settings), *_database_checks(settings)]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            _print(finding)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    print_line(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.check}: {finding.detail}")
    if finding.advice:
        print_line(f"      {finding.advice}")


def _database_checks(settings: Environment) -> Iterator[Finding]:
    try:
        url = settings.database_url or connect_uri(DataDirectory(settings.data).postgres)
    except PostgresError as error:
        yield Finding(
            "database", ok=False, detail=str(error), advice="Start the server with `cpm serve`."
        )
        return
    os.environ["DATABASE_URL"] = url
    os.environ["DJANGO_SETTINGS_MODULE"] = "cpm.config.settings"
    import django

    django.setup()
    from cpm.queries import health

    yield from (Finding(**asdict(answer)) for answer in health.checks())
