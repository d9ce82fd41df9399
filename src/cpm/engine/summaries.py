"""Daily summaries: once a day, at an hour of the user's own clock, how things stand."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q, QuerySet, TextChoices

from cpm.engine import jobs, messages
from cpm.kernel import clock, times
from cpm.kernel.schedule import Schedule, Unit
from cpm.models.alerts import Alert
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, CopyStatus
from cpm.models.notifications import DeliveryKind
from cpm.models.recoveries import Recovery, RecoveryOutcome, RecoveryPhase
from cpm.models.users import User, UserKind

_PERIOD = timedelta(days=1)
_MOST_ALERTS = 25


def due(now: datetime) -> QuerySet[Any, int]:
    """The ids of the users whose summary is due."""
    users = User.objects.filter(summary_due_at__lte=now).exclude(kind=UserKind.GONE)
    return users.values_list("pk", flat=True)


def next_time(hour: int, time_zone: str) -> datetime:
    """When that hour (0 to 23) begins next in a zone; in the server's where none is given."""
    zone = ZoneInfo(time_zone or settings.ENVIRONMENT.time_zone)
    now = clock.now()
    yesterday = (now.astimezone(zone) - 2 * _PERIOD).replace(hour=hour, minute=0, second=0)
    daily = Schedule(
        every_unit=Unit.DAYS, every_how_many=1, start_at=yesterday.astimezone(UTC), zone=zone
    )
    return daily.next_run(now) or now + _PERIOD


@jobs.SUMMARIZE.runs
@transaction.atomic
def summarize(user_id: int) -> None:
    """Write the summary of a user to all channels that want it, if it is due."""
    now = clock.now()
    users = User.objects.select_for_update(no_key=True)
    user = users.filter(pk=user_id, summary_due_at__lte=now).first()
    if user is None:
        return
    user.summary_due_at = next_time(user.summary_hour, user.summary_time_zone)
    user.save(update_fields=["summary_due_at"])
    facts = _facts(user, now)
    for channel in user.channels.filter(enabled=True, daily_summary=True).order_by("pk"):
        messages.write(channel, DeliveryKind.SUMMARY, facts)


def _facts(user: User, now: datetime) -> dict[str, Any]:
    since = now - _PERIOD
    whose = Q(user=user) | Q(user=None) if user.kind == UserKind.ROOT else Q(user=user)
    alerts = Alert.objects.filter(whose, resolved_at=None).select_related("policy")
    newest = list(alerts.order_by("-raised_at")[:_MOST_ALERTS])
    return {
        "from_time": times.to_wire(since),
        "to_time": times.to_wire(now),
        "counts": _counts(user, since),
        "open_alerts": alerts.count(),
        "alerts": [messages.about(alert) for alert in newest],
    }


def _counts(user: User, since: datetime) -> dict[str, dict[str, int]]:
    """How many of what ended how, since then."""
    lately = {"user": user, "finished_at__gte": since}
    backups = Backup.objects.filter(phase=BackupPhase.CLOSED, **lately)
    copied = Backup.objects.filter(user=user, dr_finished_at__gte=since)
    recoveries = Recovery.objects.filter(phase=RecoveryPhase.CLOSED, **lately)
    return {
        "backups": _by_end(backups, "outcome", BackupOutcome),
        "dr": _by_end(copied, "dr_status", CopyStatus),
        "recoveries": _by_end(recoveries, "outcome", RecoveryOutcome),
    }


def _by_end(rows: QuerySet[Any], column: str, ends: type[TextChoices]) -> dict[str, int]:
    counted = rows.order_by(column).values_list(column).annotate(Count("pk"))
    return {str(ends(end).label).lower(): count for end, count in counted}
