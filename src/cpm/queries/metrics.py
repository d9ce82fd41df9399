"""How the server is doing, in numbers: for whoever watches over it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, QuerySet

from cpm.engine import queue
from cpm.kernel import clock
from cpm.kernel.counters import series
from cpm.models.alerts import Alert
from cpm.models.backups import Backup, BackupPhase
from cpm.models.metrics import Metric
from cpm.models.notifications import Delivery, DeliveryPhase
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
    under_way = Backup.objects.exclude(phase=BackupPhase.CLOSED)
    yield series("cpm_backups", status=IN_PROGRESS), under_way.count()
    for outcome, count in _ended_backups.counts():
        yield series("cpm_backups", status=outcome), count


def _deliveries() -> Iterator[Sample]:
    """Messages about alerts that wait, and those that are over by how they ended."""
    # By the index of what is due: whatever waits has a time.
    waiting = Delivery.objects.filter(due_at__isnull=False)
    yield series("cpm_deliveries", state=DeliveryPhase.WAITING), waiting.count()
    for outcome, count in _ended_deliveries.counts():
        yield series("cpm_deliveries", state=outcome), count


class _Ended:
    """How many rows have ended how, a minute ago at most: to count them is to read them all."""

    def __init__(self, rows: QuerySet[Any]) -> None:
        self._rows = rows.values_list("outcome").order_by("outcome").annotate(count=Count("pk"))
        self._counts: list[tuple[str, int]] = []
        self._counted_at = _LONG_AGO

    def counts(self) -> list[tuple[str, int]]:
        now = clock.now()
        if abs(now - self._counted_at) >= _KEEP_COUNTS:
            self._counts, self._counted_at = list(self._rows.all()), now
        return self._counts


_ended_backups = _Ended(Backup.objects.filter(phase=BackupPhase.CLOSED))
_ended_deliveries = _Ended(Delivery.objects.filter(phase=DeliveryPhase.CLOSED))


def _database_bytes() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        (size,) = cursor.fetchone()
    return int(size)
