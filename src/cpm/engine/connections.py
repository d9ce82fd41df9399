"""A worker's connections to the database, which may go away: those of its queues, and its jobs'."""

import asyncio
import select
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from django import db
from procrastinate.connector import Notify
from procrastinate.contrib.django.utils import connector_params
from procrastinate.exceptions import ConnectorException
from procrastinate.psycopg_connector import PsycopgConnector
from psycopg import AsyncConnection, OperationalError
from psycopg.abc import PQGen
from psycopg_pool import AsyncConnectionPool, PoolTimeout

Answer = TypeVar("Answer")
Connection = AsyncConnection[tuple[Any, ...]]

# How long a connection sleeps at a time.
_WAIT_SECONDS = 5.0
# How long whoever wants a connection waits before he looks whether the worker is to stop.
_PATIENCE_SECONDS = 2.0
# How long the pool tries to connect for one who waits: between its attempts it waits ever longer.
_CONNECT_FOR_SECONDS = 3.0
# After a connection broke while it was used.
_AGAIN_SECONDS = 1.0


class QueueConnector(PsycopgConnector):
    """The queue as one worker sees it, until `stop` is set.

    While the database is away, whoever wants a connection waits for it. What a broken connection
    has interrupted fails only where it must not be said twice.
    """

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(
            pool_factory=partial(_Pool, stop),
            connection_class=_SleepingConnection,
            kwargs={**connector_params(), "prepare_threshold": 5},
            min_size=1,
            max_size=4,
            timeout=_PATIENCE_SECONDS,
            reconnect_timeout=_CONNECT_FOR_SECONDS,
        )
        self._stop = stop

    async def execute_query_async(self, query: str, **arguments: Any) -> None:
        """Signs of life and how jobs ended: they must arrive, and may be said twice."""
        await self._until_done(partial(super().execute_query_async, query, **arguments))

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        """Listens for new jobs; what is announced meanwhile is found by polling."""
        await self._until_done(partial(super().listen_notify, on_notification, channels))

    async def _until_done(self, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await act()
            except ConnectorException as trouble:
                is_broken = isinstance(trouble.__cause__, OperationalError)
                if self._stop.is_set() or not is_broken:
                    raise
            await asyncio.sleep(_AGAIN_SECONDS)


class _SleepingConnection(AsyncConnection[Any]):
    """Waits for the database without waking up ten times a second.

    psycopg does so to see an interrupt from the keyboard, which is the main thread's here.
    """

    async def wait(
        self, gen: PQGen[Answer], interval: float = _WAIT_SECONDS, timeout: float | None = None
    ) -> Answer:
        return await super().wait(gen, interval=interval, timeout=timeout)


class _Pool(AsyncConnectionPool[Connection]):
    """A pool of connections that are asked whether they live only where there is a doubt.

    Whatever the queue wants is one statement, and needs no transaction around it.
    """

    def __init__(self, stop: threading.Event, **options: Any) -> None:
        super().__init__(**{**options, "check": _check, "configure": _commit_at_once})
        self._stop = stop

    async def open(self, *_: Any, **__: Any) -> None:
        """Opens at once: who wants a connection waits for it."""
        await super().open()

    async def getconn(self, timeout: float | None = None) -> Connection:
        """Waits for the database; whoever waits when the worker is to stop is cancelled."""
        while True:
            with suppress(PoolTimeout):
                return await super().getconn(timeout)
            if self._stop.is_set():
                raise asyncio.CancelledError


async def _commit_at_once(connection: Connection) -> None:
    await connection.set_autocommit(True)


async def _check(connection: Connection) -> None:
    """Raises when the connection does not live any longer."""
    if not _is_silent(connection.fileno()):
        await AsyncConnectionPool.check_connection(connection)


def trust_if_silent() -> None:
    """Keep Django from asking its connection of this thread whether it lives, but for a doubt.

    It asks before the first statement of each job, which is a round trip more.
    """
    psycopg_connection = db.connection.connection
    if psycopg_connection is not None and _is_silent(psycopg_connection.fileno()):
        db.connection.health_check_done = True  # type: ignore[attr-defined]  # not in the stubs


def _is_silent(descriptor: int) -> bool:
    """Whether nothing has arrived: of a connection that the other side has closed, its end has."""
    arrived = select.poll()
    arrived.register(descriptor, select.POLLIN)
    return not arrived.poll(0)
