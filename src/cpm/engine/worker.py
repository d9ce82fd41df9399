"""A worker process: does jobs, and sweeps for what is due every second."""

import threading
from collections.abc import Sequence

import structlog
from django.db import close_old_connections, connection

# Importing them is what makes this process able to do their jobs.
from cpm.engine import (
    backups,
    cleanup,
    inventory,
    operations,
    queue,
    recoveries,
    retention,
    sweep,
    tick,
    watchers,
)
from cpm.engine.queue import Pace
from cpm.kernel import clock

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 1.0
# After the database went away.
_RESTART_SECONDS = 2.0

LOOKS = (backups, cleanup, inventory, operations, recoveries, retention, tick, watchers)


def run(
    *,
    stop: threading.Event,
    queues: Sequence[str] = (),
    concurrency: int = 10,
    pace: Pace | None = None,
) -> None:
    """Work until `stop` is set, through whatever happens to the database meanwhile."""
    pace = pace or Pace()
    sweeper = threading.Thread(target=_sweep_until, args=(stop, pace), name="sweep", daemon=True)
    sweeper.start()
    while not stop.is_set():
        try:
            queue.run_worker(queues=queues, concurrency=concurrency, stop=stop, pace=pace)
        except queue.DATABASE_TROUBLE as trouble:
            log.warning("worker.database_away", trouble=str(trouble))
        stop.wait(_RESTART_SECONDS)
    sweeper.join()


def _sweep_until(stop: threading.Event, pace: Pace) -> None:
    take_over_at = clock.monotonic()
    while not stop.wait(SWEEP_SECONDS):
        try:
            close_old_connections()
            sweep.sweep()
            if clock.monotonic() >= take_over_at:
                queue.take_over_stalled(pace.stalled_after_seconds)
                take_over_at = clock.monotonic() + pace.stalled_after_seconds / 4
        except Exception:
            # Whatever it is: without the sweep nothing that was to wait would go on.
            log.exception("sweep.failed")
    connection.close()
