"""A worker process: does jobs, and sweeps for what is due every second."""

import itertools
import threading
from collections.abc import Sequence

import structlog
from django.db import connection

# Importing them is what makes this process able to do their jobs.
from cpm.engine import (
    agents,
    archive_care,
    backups,
    cleanup,
    copy_to_s3,
    deliveries,
    discovery,
    dr,
    inventory,
    machines,
    metrics,
    operations,
    outages,
    programs,
    queue,
    recoveries,
    removal,
    restore_ranges,
    retention,
    s3_copies,
    s3_ranges,
    scripts,
    summaries,
    sweep,
    tagscan,
    tick,
    watchers,
)
from cpm.engine.queue import Pace
from cpm.kernel import clock, counters, memory

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 1.0
# Messages that each worker process sends at once.
NOTICE_CONCURRENCY = 10
# What comes round every few hours (cleanup, scans, inventory) is looked for this seldom.
_SWEEPS_PER_ROUND = 30
# After the database went away.
_RESTART_SECONDS = 2.0

LOOKS = (
    agents,
    archive_care,
    backups,
    cleanup,
    copy_to_s3,
    discovery,
    deliveries,
    dr,
    inventory,
    machines,
    operations,
    recoveries,
    removal,
    restore_ranges,
    retention,
    s3_copies,
    s3_ranges,
    scripts,
    summaries,
    tagscan,
    tick,
    watchers,
)


def run(
    *,
    stop: threading.Event,
    queues: Sequence[str] = (),
    concurrency: int = 10,
    script_concurrency: int = 20,
    archive_concurrency: int = 2,
    pace: Pace | None = None,
) -> None:
    """Serve `queues` (all if empty) until `stop` is set, whatever happens to the database."""
    memory.settle()
    pace = pace or Pace()
    threads_by_queue = {
        queue.ENGINE: concurrency,
        queue.SCRIPTS: script_concurrency,
        queue.NOTICES: NOTICE_CONCURRENCY,
        queue.ARCHIVE: archive_concurrency,
    }
    threads = [threading.Thread(target=_sweep_until, args=(stop, pace), name="sweep")]
    for name in queues or threads_by_queue:
        arguments = (stop, name, threads_by_queue.get(name, concurrency), pace)
        threads.append(threading.Thread(target=_serve_until, args=arguments, name=name))
    for thread in threads:
        thread.start()
    stop.wait()
    _end(threads, clock.monotonic() + pace.stop_within_seconds)


def _serve_until(stop: threading.Event, name: str, concurrency: int, pace: Pace) -> None:
    while not stop.is_set():
        try:
            queue.run_worker(queue=name, concurrency=concurrency, stop=stop, pace=pace)
        except queue.DATABASE_TROUBLE as trouble:
            if not stop.is_set():
                log.warning("worker.interrupted", queue=name, reason=outages.reason(trouble))
        except Exception:
            log.exception("worker.failed", queue=name)
        stop.wait(_RESTART_SECONDS)


def _end(threads: Sequence[threading.Thread], deadline: float) -> None:
    """Wait for what is being done; scripts that go on after the deadline (monotonic) are ended."""
    for thread in threads:
        thread.join(max(0.0, deadline - clock.monotonic()))
    programs.end_all()
    for thread in threads:
        thread.join()


def _sweep_until(stop: threading.Event, pace: Pace) -> None:
    take_over_at = flush_at = clock.monotonic()
    numbers = itertools.count()
    outage = outages.Outage()
    while not stop.wait(SWEEP_SECONDS):
        try:
            sweep.sweep(with_rounds=next(numbers) % _SWEEPS_PER_ROUND == 0)
            counters.mark("cpm_last_sweep_timestamp_seconds", clock.now().timestamp())
            if clock.monotonic() >= take_over_at:
                queue.take_over_stalled(pace.stalled_after_seconds)
                take_over_at = clock.monotonic() + pace.stalled_after_seconds / 4
            if clock.monotonic() >= flush_at:
                metrics.flush()
                flush_at = clock.monotonic() + metrics.FLUSH_SECONDS
            outage.is_over()
        except queue.DATABASE_TROUBLE as trouble:
            outage.goes_on(trouble)
            # The others have been as silent as this one; they get the time to say that they live.
            take_over_at = clock.monotonic() + pace.stalled_after_seconds
            connection.close()
        except Exception:
            # Whatever it is: without the sweep nothing that was to wait would go on.
            log.exception("sweep.failed")
            connection.close()
    connection.close()
