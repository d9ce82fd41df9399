"""A dump of the embedded database each day, beside the running server."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from cpm.kernel import clock
from cpm.postgres import dumps
from cpm.postgres.errors import PostgresError

_log = structlog.get_logger(__name__)

INTERVAL = timedelta(days=1)
KEPT = 7


class DailyDump:
    """Dumps when the newest dump is a day old; one at a time, and nobody waits for it."""

    def __init__(self, database: Path, destination: Path) -> None:
        self._database = database
        self._destination = destination
        self._running: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether a dump is being made."""
        return self._running is not None and self._running.is_alive()

    def make_if_due(self) -> None:
        """Starts a dump in the background, if it is time and none is being made."""
        if not self.is_running and self._is_due():
            self._running = threading.Thread(target=self._dump, name="dump", daemon=True)
            self._running.start()

    def _is_due(self) -> bool:
        made = dumps.dumps_in(self._destination)
        if not made:
            return True
        age = clock.now() - datetime.fromtimestamp(made[0].stat().st_mtime, UTC)
        return age >= INTERVAL

    def _dump(self) -> None:
        try:
            path = dumps.dump(self._database, self._destination, keep=KEPT)
        except PostgresError as error:
            _log.error("the database could not be dumped", reason=str(error))
        else:
            _log.info("the database is dumped", path=str(path))
