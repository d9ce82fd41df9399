"""How the server is doing, in numbers: for whoever watches over it."""

from collections.abc import Iterator

from django.db import connection
from django.db.models import Count

from cpm.engine import queue
from cpm.kernel.counters import series
from cpm.models.alerts import Alert
from cpm.models.backups import Backup
from cpm.models.metrics import Metric
from cpm.models.notifications import Delivery
from cpm.queries.outcomes import status

Sample = tuple[str, float]


def counted() -> Iterator[Sample]:
    """What all processes have counted since the database was made."""
    yield from Metric.objects.order_by("series").values_list("series", "value")


def measured() -> Iterator[Sample]:
    """What is so now."""
    outcomes = Backup.objects.values_list("outcome").annotate(count=Count("pk")).order_by("outcome")
    for outcome, count in outcomes:
        yield series("cpm_backups", status=status(outcome)), count
    open_alerts = Alert.objects.filter(resolved_at=None).values_list("severity")
    for severity, count in open_alerts.annotate(count=Count("pk")).order_by("severity"):
        yield series("cpm_alerts", severity=severity), count
    yield from _deliveries()
    for backlog in queue.backlogs():
        yield series("cpm_queue_jobs", queue=backlog.queue), backlog.jobs
        yield series("cpm_queue_oldest_job_seconds", queue=backlog.queue), backlog.oldest_seconds
    yield "cpm_workers", queue.live_workers()
    yield "cpm_database_bytes", _database_bytes()


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
