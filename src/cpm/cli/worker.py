"""`cpm worker`: does the work that the rows ask for, or what a server far away assigns."""

import sys
import threading
from pathlib import Path
from typing import Annotated

import structlog
import typer

from cpm.cli.connection import connect
from cpm.cli.terminal import DataOption
from cpm.kernel import clock
from cpm.kernel.signals import stop_signals

log = structlog.get_logger(__name__)

# How often a worker looks whether the tables are there by now, and says that they are not.
_LOOK_SECONDS, _TELL_SECONDS = 2.0, 60.0


def worker(
    *,
    data: DataOption = None,
    queues: Annotated[
        str, typer.Option(help="Names of queues, separated by commas (default: all).")
    ] = "",
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="How many jobs at once (default 10).")
    ] = None,
    server: Annotated[
        str,
        typer.Option(help="Do what the server at this URL assigns, as worker machines do."),
    ] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="With --server: the file with the machine's token.")
    ] = None,
    ca_cert: Annotated[
        Path | None, typer.Option(help="With --server: the certificate to trust, and no other.")
    ] = None,
) -> None:
    """Run a worker process; any number of them may run, on any number of machines."""
    if bool(server) != (token_file is not None):
        raise typer.BadParameter("--server and --token-file belong together")
    if server and token_file is not None:
        from cpm.machine import process

        sys.exit(process.run(process.Options(server, token_file, ca_cert, concurrency or 1)))
    settings = connect(data)
    from cpm.engine import worker as engine_worker
    from cpm.engine.queue import Pace

    stop = threading.Event()
    with stop_signals(stop.set):
        _wait_for_tables(stop)
        engine_worker.run(
            stop=stop,
            queues=[name.strip() for name in queues.split(",") if name.strip()],
            concurrency=concurrency or settings.worker_concurrency,
            script_concurrency=settings.script_concurrency,
            pace=Pace.stalling_after(settings.worker_stalled_seconds),
        )


def _wait_for_tables(stop: threading.Event) -> None:
    """Wait for `cpm migrate` where the tables are those of an older version, or missing."""
    from django.db import connection

    from cpm.queries import health

    tell_at = clock.monotonic()
    while bad := [each for each in health.of_serving() if each.check == "tables" and not each.ok]:
        if clock.monotonic() >= tell_at:
            tell_at = clock.monotonic() + _TELL_SECONDS
            log.warning("worker.waits_for_tables", reason=bad[0].detail, advice=bad[0].advice)
        if stop.wait(_LOOK_SECONDS):
            break
    connection.close()
