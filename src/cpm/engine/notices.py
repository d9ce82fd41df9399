"""What channels are to be told of alerts: what they were told last, compared with what is so.

A change of an alert only says when to compare. What has come and gone by then is never told, and
what is told at one time goes in one message.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from cpm.engine import bulk, messages
from cpm.kernel import clock
from cpm.models.alerts import Alert, AlertSeverity
from cpm.models.notifications import Channel, Delivery, DeliveryKind, Notice
from cpm.models.users import UserKind

# What lasts no longer is not told; others that are raised meanwhile come in the same message.
HOLD = timedelta(seconds=30)
# A cause has to be gone for so long before its end is told.
COOL_DOWN = timedelta(minutes=10)
_MOST_AT_ONCE = 25
_RANKS = {AlertSeverity.INFO: 1, AlertSeverity.WARNING: 2, AlertSeverity.ERROR: 3}


def cause_of(channel: Channel) -> str:
    """The cause of alerts about a channel that cannot be reached."""
    return f"channel:{channel.pk}"


def due(now: datetime) -> QuerySet[Any, int]:
    """The ids of the channels for which there is something to do now."""
    waiting = Delivery.objects.filter(channel__enabled=True, due_at__isnull=False)
    behind = waiting.filter(channel=OuterRef("channel"))
    to_compare = Notice.objects.filter(channel__enabled=True, due_at__lte=now)
    ids = to_compare.filter(~Exists(behind)).values_list("channel", flat=True)
    return waiting.filter(due_at__lte=now).values_list("channel", flat=True).union(ids)


def tell_of(alert: Alert) -> None:
    """Have the channels that want to know told of an alert that is open."""
    soon = clock.now() + HOLD
    new = [
        Notice(channel=channel, alert=alert, due_at=soon)
        for channel in _wanting(alert)
        # Of its own trouble a channel cannot be told.
        if alert.cause != cause_of(channel)
    ]
    if new:
        Notice.objects.bulk_create(new, ignore_conflicts=True)
    later = Q(due_at=None) | Q(due_at__gt=soon)
    Notice.objects.filter(later, alert=alert).update(due_at=soon)


def take_back(alert_ids: list[int]) -> None:
    """Have the channels that were told of these alerts told of their end."""
    notices = Notice.objects.filter(alert__in=alert_ids)
    notices.filter(told="").update(due_at=None)
    notices.exclude(told="").update(due_at=clock.now() + COOL_DOWN)


@transaction.atomic
def gather(channel: Channel) -> Delivery | None:
    """Write the message about all that a channel has to be told now, if there is anything."""
    notices = Notice.objects.select_for_update(of=("self",), skip_locked=True)
    due = notices.filter(channel=channel, due_at__lte=clock.now())
    compared = list(due.select_related("alert__policy").order_by("pk")[:_MOST_AT_ONCE])
    news = []
    for notice in compared:
        told, notice.due_at = notice.told, None
        _compare(notice)
        if notice.told != told:
            news.append(messages.about(notice.alert))
    bulk.update(compared, ["told", "due_at"])
    return messages.write(channel, DeliveryKind.ALERTS, {"alerts": news}) if news else None


def _wanting(alert: Alert) -> QuerySet[Channel]:
    """The channels that want to know of an alert."""
    severity = AlertSeverity(alert.severity)
    enough = [each for each, rank in _RANKS.items() if rank <= _RANKS[severity]]
    whose = Q(user=alert.user_id) if alert.user_id else Q(user__kind=UserKind.ROOT)
    which = Q(categories=[]) | Q(categories__contains=[alert.category])
    return Channel.objects.filter(whose, which, enabled=True, least_severity__in=enough)


def _compare(notice: Notice) -> None:
    """Let the notice say what the channel is to know: an alert, a worse one, or its end."""
    alert = notice.alert
    if alert.resolved_at is not None:
        notice.told = ""
    elif not notice.told or _rank(alert.severity) > _rank(notice.told):
        notice.told = alert.severity


def _rank(severity: str) -> int:
    return _RANKS[AlertSeverity(severity)]
