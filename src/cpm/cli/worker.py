"""`cpm worker`: does the work that the rows ask for."""

import threading
from typing import Annotated

import typer

from cpm.cli.connection import connect
from cpm.cli.terminal import DataOption
from cpm.server.supervisor import stop_signals


def worker(
    data: DataOption = None,
    queues: Annotated[
        str, typer.Option(help="Names of queues, separated by commas (default: all).")
    ] = "",
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="How many jobs at once (default 10).")
    ] = None,
) -> None:
    """Run a worker process; any number of them may run, on any number of machines."""
    settings = connect(data)
    from cpm.engine import worker as engine_worker
    from cpm.engine.queue import Pace

    stop = threading.Event()
    with stop_signals(stop.set):
        engine_worker.run(
            stop=stop,
            queues=[name.strip() for name in queues.split(",") if name.strip()],
            concurrency=concurrency or settings.worker_concurrency,
            script_concurrency=settings.script_concurrency,
            archive_concurrency=settings.archive_concurrency,
            pace=Pace.stalling_after(settings.worker_stalled_seconds),
        )
