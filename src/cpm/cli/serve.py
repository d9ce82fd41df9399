"""`cpm serve`: everything on this machine."""

from dataclasses import replace
from typing import Annotated

import typer

from cpm.cli.connection import read_environment
from cpm.cli.terminal import DataOption, fail, say
from cpm.kernel.signals import stop_signals
from cpm.postgres.errors import PostgresError
from cpm.server.allinone import AllInOne, ServerOptions, StartFailed
from cpm.server.data import DataDirectoryBusy
from cpm.server.ports import PortRefused

BindOption = Annotated[str | None, typer.Option(help="The address to listen on (default: all).")]
PortOption = Annotated[
    int | None, typer.Option(min=0, max=65535, help="The port to listen on (default 443).")
]

START_ERRORS = (DataDirectoryBusy, PortRefused, StartFailed, PostgresError, OSError)


def serve(data: DataOption = None, bind: BindOption = None, port: PortOption = None) -> None:
    """Run the whole server: web, workers, scheduler, and PostgreSQL unless DATABASE_URL is set."""
    settings = read_environment(data)
    settings = replace(
        settings, bind=bind or settings.bind, port=settings.port if port is None else port
    )
    server = AllInOne(ServerOptions(settings))
    with stop_signals(server.ask_to_stop):
        try:
            with server:
                _greet(server)
                server.run()
                say("Stopping ...")
        except START_ERRORS as error:
            fail(str(error))
    say("Stopped; the same command goes on with what is there.")


def _greet(server: AllInOne) -> None:
    say(f"cpm-server is running at [bold]{server.url}[/bold] (data in {server.data.path})")
    if server.data.root_password.exists():
        say(
            f"Root's first password is in {server.data.root_password}; "
            "change it, then delete the file."
        )
