"""Work distribution: the one module that knows Procrastinate.

A job is a wake-up call for a row. It carries the row's id and nothing else, commits with the row,
and may be lost or run twice without harm, because rows decide what is done.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import procrastinate
import structlog
from asgiref.sync import async_to_sync
from django.db import InterfaceError, OperationalError, connection, transaction
from procrastinate.contrib.django.db_cleanup import close_db_connections
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.job_context import JobContext
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from procrastinate.worker import Worker
from psycopg_pool import PoolTimeout

from cpm.engine import connections, outages
from cpm.kernel import clock

log = structlog.get_logger(__name__)

Function = TypeVar("Function", bound=Callable[..., object])

# The queue of everything short, that of the server's own scripts, which may take hours, that of
# messages, whose receivers may be slow, and that of the data that goes to S3 and comes back. Each
# has its own threads; workers may be told to serve some queues only.
ENGINE = "engine"
SCRIPTS = "scripts"
NOTICES = "notices"
ARCHIVE = "archive"

# A job that fails by a defect, or kills its worker, is tried again for some twenty minutes.
MOST_ATTEMPTS = 12
LONGEST_BACK_OFF_SECONDS = 300
# What a worker outlives: the database went away, and comes back.
DATABASE_TROUBLE = (ConnectorException, OperationalError, InterfaceError, PoolTimeout)
# Procrastinate's own function fails where a job waits already, which spoils the transaction of
# whoever asks. All make their jobs in the same order, so that no two wait for each other.
_DEFER = """\
INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args)
SELECT %(queue)s, %(task)s, %(priority)s, key, key, arguments::jsonb
FROM unnest(%(keys)s::text[], %(arguments)s::text[]) AS wanted (key, arguments)
WHERE %(while_running)s OR NOT EXISTS (
    SELECT FROM procrastinate_jobs AS job WHERE job.status = 'doing' AND job.lock = wanted.key
)
ORDER BY key ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING"""
# Long past by any clock: the queue's own is the database's, and cannot be moved by tests.
_AT_ONCE = datetime.fromtimestamp(0, UTC)
# How often whoever waits for the end of a worker looks whether it has ended by itself.
_STILL_OPEN_SECONDS = 30.0
_TELL_AGAIN_SECONDS = 0.2
# Nobody aborts jobs here: rows decide.
_NEVER_SECONDS = 86400.0


class Overtaken(Exception):
    """Somebody else has changed the row since it was read; what was learnt is dropped."""


@dataclass(frozen=True)
class Pace:
    """How a worker process keeps in touch with the others; the defaults suit every installation."""

    heartbeat_seconds: float = 10.0
    # A worker that has been silent for so long is dead, and its jobs are somebody else's.
    stalled_after_seconds: float = 60.0
    # New jobs are announced; the poll is for announcements that were lost.
    poll_seconds: float = 5.0
    # How long running jobs are waited for when the worker is to stop.
    stop_within_seconds: float = 25.0

    @classmethod
    def stalling_after(cls, seconds: float) -> "Pace":
        """The pace at which silence for `seconds` means death; some signs of life may get lost."""
        return cls(heartbeat_seconds=seconds / 6, stalled_after_seconds=seconds)


class Task:
    """One kind of work, declared by name: whoever asks for it need not know the code that does it.

    Jobs have a key, which names the row. Of one key at most one job waits and at most one runs.
    """

    def __init__(self, name: str, *, priority: int, queue: str = ENGINE) -> None:
        self.name = name
        self.priority = priority
        self.queue = queue
        self._function: Callable[..., object] | None = None
        self._last_resort: Callable[..., object] | None = None
        _tasks[name] = self

    def runs(self, function: Function) -> Function:
        """Decorate the function that does the work."""
        self._function = function
        return function

    def gives_up(self, function: Function) -> Function:
        """Decorate the function that is called instead, after too many failures."""
        self._last_resort = function
        return function

    def defer(self, key: str, **arguments: Any) -> None:
        """Ask for the work to be done soon, once the transaction that this is part of commits."""
        self._insert({key: arguments}, while_running=True)

    def defer_all(self, arguments_by_key: Mapping[str, Mapping[str, Any]]) -> None:
        """Ask for many pieces of the work at once, but for those that are being done."""
        if arguments_by_key:
            self._insert(arguments_by_key, while_running=False)

    def perform(self, arguments: Mapping[str, Any], *, attempts: int = 0) -> None:
        """Do the work in this thread; after too many attempts, give up instead."""
        if self._function is None:
            raise LookupError(f"nothing in this process does {self.name}")
        function = self._function
        if attempts >= MOST_ATTEMPTS:
            log.error("job.given_up", task=self.name, **arguments)
            function = self._last_resort or _nothing
        try:
            function(**arguments)
        except Overtaken as reason:
            log.debug("job.overtaken", task=self.name, reason=str(reason))

    def _insert(
        self, arguments_by_key: Mapping[str, Mapping[str, Any]], *, while_running: bool
    ) -> None:
        values: dict[str, Any] = {
            "queue": self.queue,
            "task": self.name,
            "priority": self.priority,
            "keys": list(arguments_by_key),
            "arguments": [json.dumps(each) for each in arguments_by_key.values()],
            "while_running": while_running,
        }
        with connection.cursor() as cursor:
            cursor.execute(_DEFER, values)


def run_worker(
    *, queue: str = ENGINE, concurrency: int = 10, stop: threading.Event, pace: Pace
) -> None:
    """Do jobs of one queue, `concurrency` at once, until `stop` is set.

    Returns early, or raises, when the database goes away; the caller starts it again.
    """
    with _served(stop), ThreadPoolExecutor(concurrency, thread_name_prefix="job") as threads:
        loop = asyncio.new_event_loop()
        loop.set_default_executor(threads)
        app = _worker_app(stop)
        try:
            loop.run_until_complete(app.open_async())
            # Its methods have no types.
            worker: Any = Worker(app=app, **_options(queue, concurrency, pace))
            threading.Thread(target=_stop_when, args=(stop, worker, loop), daemon=True).start()
            # That is how it ends where the database is away.
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(worker.run())
            if stop.is_set():
                log.info("worker.stopped")
        finally:
            loop.run_until_complete(app.close_async())
            loop.close()


def is_stopping() -> bool:
    """Whether a worker of this process was told to stop: long jobs end where they can go on."""
    return any(stop.is_set() for stop in _stops)


def take_over_stalled(silent_seconds: float) -> int:
    """Put the jobs of workers that have been silent for so long back into the queue."""
    stalled = list(async_to_sync(_jobs.get_stalled_jobs)(seconds_since_heartbeat=silent_seconds))
    for job in stalled:
        log.warning("job.taken_over", task=job.task_name, key=job.lock, attempts=job.attempts)
        _put_back(job)
    return len(stalled)


def live_workers(silent_seconds: float = Pace.stalled_after_seconds) -> int:
    """How many workers have given a sign of life within so many seconds; a queue has its own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM procrastinate_workers"
            " WHERE last_heartbeat > now() - make_interval(secs => %s)",
            [silent_seconds],
        )
        (count,) = cursor.fetchone()
    return int(count)


@dataclass(frozen=True)
class Backlog:
    """Jobs of one queue that could be done now, and how long the first of them has waited."""

    queue: str
    jobs: int = 0
    oldest_seconds: float = 0.0


def backlogs() -> list[Backlog]:
    """What waits in each queue."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT queue_name, count(*), max(extract(epoch FROM now() - coalesce(scheduled_at,"
            " (SELECT min(at) FROM procrastinate_events WHERE job_id = job.id)))::float8)"
            " FROM procrastinate_jobs AS job"
            " WHERE status = 'todo' AND coalesce(scheduled_at, now()) <= now() GROUP BY queue_name"
        )
        found = {name: Backlog(name, jobs, max(0.0, age or 0.0)) for name, jobs, age in cursor}
    return [found.get(name, Backlog(name)) for name in (ENGINE, SCRIPTS, NOTICES, ARCHIVE)]


def run_next() -> bool:
    """Do the next waiting job in this thread; False when there is none.

    For tests and tools that drive the engine step by step. A job that raises stays claimed, as if
    its worker had died.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, task_name, args::text, attempts FROM procrastinate_fetch_job_v2(NULL, NULL)"
        )
        job_id, name, arguments, attempts = cursor.fetchone()
    if job_id is None:
        return False
    _tasks[name].perform(json.loads(arguments), attempts=attempts)
    with connection.cursor() as cursor:
        cursor.execute("SELECT procrastinate_finish_job_v1(%s, 'succeeded', true)", [job_id])
    return True


@contextmanager
def _served(stop: threading.Event) -> Iterator[None]:
    _stops.append(stop)
    try:
        yield
    finally:
        _stops.remove(stop)


# Of the queues that this process serves.
_stops: list[threading.Event] = []
_tasks: dict[str, Task] = {}
_jobs = JobManager(DjangoConnector())


class _BackOff(BaseRetryStrategy):
    """Tries a failed job again, later each time."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        wait_seconds = min(2 ** (job.attempts + 1), LONGEST_BACK_OFF_SECONDS)
        if isinstance(exception, DATABASE_TROUBLE):
            # Where in the code that was is of no interest.
            why = outages.reason(exception)
            log.warning("job.interrupted", task=job.task_name, key=job.lock, reason=why)
        else:
            log.error("job.failed", task=job.task_name, key=job.lock, exc_info=exception)
        return RetryDecision(retry_in={"seconds": wait_seconds})


def _worker_app(stop: threading.Event) -> procrastinate.App:
    """An app that fetches jobs over connections of its own; jobs themselves use Django's."""
    app = procrastinate.App(connector=connections.QueueConnector(stop))
    for task in _tasks.values():
        declare = app.task(name=task.name, queue=task.queue, retry=_BackOff(), pass_context=True)
        declare(_performer(task))
    return app


def _performer(task: Task) -> Callable[..., None]:
    def perform(context: JobContext, **arguments: Any) -> None:
        connections.trust_if_silent()
        task.perform(arguments, attempts=context.job.attempts)

    return perform


def _options(queue: str, concurrency: int, pace: Pace) -> dict[str, Any]:
    return {
        "queues": [queue],
        "concurrency": concurrency,
        "fetch_job_polling_interval": pace.poll_seconds,
        "abort_job_polling_interval": _NEVER_SECONDS,
        "shutdown_graceful_timeout": pace.stop_within_seconds,
        "update_heartbeat_interval": pace.heartbeat_seconds,
        "stalled_worker_timeout": pace.stalled_after_seconds,
        "listen_notify": True,
        "delete_jobs": "successful",
        "install_signal_handlers": False,
        "task_middleware": [close_db_connections],
    }


def _stop_when(stop: threading.Event, worker: Any, loop: asyncio.AbstractEventLoop) -> None:
    """In a thread of its own, so that the loop sleeps until there is work.

    A worker that is just beginning forgets that it was told to stop: it is told until it has.
    """
    while not stop.wait(_STILL_OPEN_SECONDS):
        if loop.is_closed():
            return
    while not loop.is_closed():
        with suppress(RuntimeError):  # closed just now
            worker.stop()
        clock.sleep(_TELL_AGAIN_SECONDS)


def _put_back(job: Job) -> None:
    if job.id is None:
        return
    try:
        with transaction.atomic():
            _jobs.retry_job_by_id(job.id, retry_at=_AT_ONCE)
    except UniqueViolation:
        # A newer job waits for the same row: it will do.
        async_to_sync(_jobs.finish_job_by_id_async)(job.id, Status.FAILED, delete_job=True)


def _nothing(**_: object) -> None:
    """For tasks that have nothing to say when they give up."""
