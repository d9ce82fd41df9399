"""How the server is doing, in numbers: for whoever watches over it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import Count, Q, QuerySet

from cpm.engine import queue
from cpm.kernel import clock
from cpm.kernel.counters import series
from cpm.models.alerts import Alert
from cpm.models.backups import Backup, BackupPhase
from cpm.models.metrics import Metric
from cpm.models.notifications import Delivery
from cpm.queries.outcomes import IN_PROGRESS

Sample = tuple[str, float]

_KEEP_COUNTS = timedelta(minutes=1)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def counted() -> Iterator[Sample]:
    """What all processes have counted since the database was made."""
    yield from Metric.objects.order_by("series").values_list("series", "value")


def measured() -> Iterator[Sample]:
    """What is so now."""
    yield from _backups()
    open_alerts = Alert.objects.filter(resolved_at=None).values_list("severity")
    for severity, count in open_alerts.annotate(count=Count("pk")).order_by("severity"):
        yield series("cpm_alerts", severity=severity), count
    yield from _deliveries()
    for backlog in queue.backlogs():
        yield series("cpm_queue_jobs", queue=backlog.queue), backlog.jobs
        yield series("cpm_queue_oldest_job_seconds", queue=backlog.queue), backlog.oldest_seconds
    yield "cpm_workers", queue.live_workers()
    yield "cpm_database_bytes", _database_bytes()


def _backups() -> Iterator[Sample]:
    """Records under way, and those that are over by how they ended."""
    yield series("cpm_backups", status=IN_PROGRESS), _records(is_closed=False).count()
    for outcome, count in _closed.counts():
        yield series("cpm_backups", status=outcome), count


def _records(*, is_closed: bool) -> QuerySet[Backup]:
    closed = Q(phase=BackupPhase.CLOSED)
    return Backup.objects.filter(closed if is_closed else ~closed)


class _Closed:
    """How many records have ended how, a minute ago at most: to count them is to read them all."""

    def __init__(self) -> None:
        self._counts: list[tuple[str, int]] = []
        self._counted_at = _LONG_AGO

    def counts(self) -> list[tuple[str, int]]:
        now = clock.now()
        if abs(now - self._counted_at) >= _KEEP_COUNTS:
            rows = _records(is_closed=True).values_list("outcome").order_by("outcome")
            self._counts, self._counted_at = list(rows.annotate(count=Count("pk"))), now
        return self._counts


_closed = _Closed()


def _deliveries() -> Iterator[Sample]:
    """Messages about alerts that wait, and those of which it is known how they ended."""
    states = Delivery.objects.values_list("phase", "outcome").order_by("phase", "outcome")
    for phase, outcome, count in states.annotate(count=Count("pk")):
        yield series("cpm_deliveries", state=outcome or phase), count


def _database_bytes() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        (size,) = cursor.fetchone()
    return int(size)
