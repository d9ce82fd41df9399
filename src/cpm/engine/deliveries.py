"""Sends messages: a channel's one after the other, each again and again until it arrives.

A message that was sent but not noted as such, because its worker died, is sent again: receivers
know it by its key. While a receiver is away, what he is to know gathers behind the first message.
"""

from datetime import timedelta

import structlog
from django.db import transaction

from cpm.engine import alerts, jobs, mail, messages, notices, topics, transitions, webhooks
from cpm.kernel import clock
from cpm.kernel.faults import Fault, FaultKind
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.notifications import (
    Channel,
    ChannelType,
    Delivery,
    DeliveryOutcome,
    DeliveryPhase,
)

log = structlog.get_logger(__name__)

# How long a message is tried.
PATIENCE = timedelta(hours=24)
_FIRST_WAIT = timedelta(seconds=10)
_LONGEST_WAIT = timedelta(hours=1)
# Some five minutes: receivers that restart are no news.
_ALERT_AFTER_ATTEMPTS = 5
_LONGEST_ERROR = 1000
_SENDERS = {
    ChannelType.EMAIL: mail.send,
    ChannelType.SNS: topics.publish,
    ChannelType.WEBHOOK: webhooks.post,
}


@jobs.NOTIFY.runs
def look(channel_id: int) -> None:
    """Send the next message of a channel, if it is time."""
    channel = _channel(channel_id)
    if channel is None:
        return
    if topics.is_missing(channel):
        _make_topic(channel)
        return
    delivery = _next(channel) or notices.gather(channel)
    if delivery is not None and delivery.due_at and delivery.due_at <= clock.now():
        _attempt(channel, delivery)


@jobs.NOTIFY.gives_up
def give_up(channel_id: int) -> None:
    """Sending fails again and again, by no fault of the receiver's."""
    channel = _channel(channel_id)
    delivery = channel and _next(channel)
    if channel and delivery:
        fault = Fault(FaultKind.INVALID, "an internal error, which is in the server's own log")
        _fail(channel, delivery, fault, is_last=True)


def _channel(channel_id: int) -> Channel | None:
    channels = Channel.objects.select_related("user", "account__assume_from_account")
    return channels.filter(pk=channel_id, enabled=True).first()


def _next(channel: Channel) -> Delivery | None:
    waiting = Delivery.objects.filter(channel=channel, phase=DeliveryPhase.WAITING)
    return waiting.order_by("pk").first()


def _make_topic(channel: Channel) -> None:
    """Make the topic first; messages wait for it as for any receiver that is away."""
    try:
        topics.make(channel)
    except Fault as fault:
        delivery = _next(channel)
        if delivery is None:
            _note(channel, fault)
        else:
            _fail(channel, delivery, fault)


def _attempt(channel: Channel, delivery: Delivery) -> None:
    try:
        _SENDERS[ChannelType(channel.channel_type)](channel, messages.of(delivery))
    except Fault as fault:
        _fail(channel, delivery, fault)
    else:
        _succeed(channel, delivery)


@transaction.atomic
def _succeed(channel: Channel, delivery: Delivery) -> None:
    now = clock.now()
    transitions.move(
        delivery,
        DeliveryPhase.CLOSED,
        outcome=DeliveryOutcome.DELIVERED,
        attempts=delivery.attempts + 1,
        error="",
        finished_at=now,
        due_at=None,
    )
    Channel.objects.filter(pk=channel.pk).update(error="", delivered_at=now)
    alerts.resolve(notices.cause_of(channel))


@transaction.atomic
def _fail(channel: Channel, delivery: Delivery, fault: Fault, *, is_last: bool = False) -> None:
    now, attempts = clock.now(), delivery.attempts + 1
    changes = {"attempts": attempts, "error": str(fault)[:_LONGEST_ERROR]}
    is_last = is_last or now >= delivery.created_at + PATIENCE
    if is_last:
        outcome = DeliveryOutcome.GIVEN_UP
        changes |= {"outcome": outcome, "finished_at": now, "due_at": None}
        transitions.move(delivery, DeliveryPhase.CLOSED, **changes)
        log.error("notice.given_up", channel=channel.pk, key=str(delivery.key), fault=str(fault))
    else:
        wait = min(_FIRST_WAIT * 2 ** min(attempts - 1, 16), _LONGEST_WAIT)
        transitions.change(delivery, due_at=now + wait, **changes)
    _note(channel, fault)
    if is_last or attempts >= _ALERT_AFTER_ATTEMPTS:
        _alert(channel, fault)


def _note(channel: Channel, fault: Fault) -> None:
    error = str(fault)[:_LONGEST_ERROR]
    Channel.objects.filter(pk=channel.pk).update(error=error)
    log.warning("notice.not_sent", channel=channel.pk, kind=channel.channel_type, fault=error)


def _alert(channel: Channel, fault: Fault) -> None:
    alerts.raise_alert(
        notices.cause_of(channel),
        user=channel.user,
        category=AlertCategory.SYSTEM,
        severity=AlertSeverity.WARNING,
        title=f"Notifications do not arrive by channel {channel.name}",
        message=str(fault)[:_LONGEST_ERROR],
    )
