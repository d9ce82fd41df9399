"""How it is told that the database is away."""

import structlog

from cpm.kernel import clock

log = structlog.get_logger(__name__)

# An outage is told at once, and then this often for as long as it lasts.
TELL_SECONDS = 60.0


class Outage:
    """What one process knows of the database being away: one line now and then, and its end."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._tell_at = 0.0

    def goes_on(self, trouble: Exception) -> None:
        """The database does not answer."""
        now = clock.monotonic()
        if self._since is None:
            self._since = self._tell_at = now
        if now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            log.warning(
                "worker.database_away",
                reason=reason(trouble),
                for_seconds=round(now - self._since),
            )

    def is_over(self) -> None:
        """The database answers."""
        if self._since is not None:
            log.warning(
                "worker.database_back", after_seconds=round(clock.monotonic() - self._since)
            )
            self._since = None


def reason(trouble: BaseException) -> str:
    """What is wrong with the database, in its own words and on one line."""
    return " ".join(str(trouble.__cause__ or trouble).split())
