"""What tells users of alerts, on the wire: channels, what went through them, daily summaries."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from msgspec import UNSET, UnsetType

from cpm.api import answers, pages
from cpm.api.lists import Listing, boolean, by_column, by_text, choice, number
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import Shape, Shown
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.notifications import ChannelType, DeliveryKind, DeliveryOutcome
from cpm.queries.notifications import deliveries, owner, visible_to
from cpm.services import notifications
from cpm.services.access import Action
from cpm.services.notifications import CHANNEL_FIELDS, SUMMARY_FIELDS


class Channel(Shown):
    """One way in which a user is told of alerts; `error` is what the last attempt ended with.

    `topic_arn` is null until the server has made the topic.
    """

    id: int
    user: int
    name: str
    channel_type: ChannelType
    enabled: bool
    least_severity: AlertSeverity
    categories: list[AlertCategory]
    daily_summary: bool
    error: str | None
    last_delivery_time: datetime | None
    email: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    account: int | UnsetType | None = UNSET
    region: str | UnsetType = UNSET
    topic_arn: str | UnsetType | None = UNSET


class Delivery(Shown):
    """A message to a channel: `P` on its way, `S` delivered, `F` given up."""

    id: int
    delivery_id: UUID
    kind: DeliveryKind
    status: Literal["P", "S", "F"]
    attempts: int
    created_time: datetime
    finish_time: datetime | None
    error: str | None


class DailySummary(Shown):
    """When a user is told how things stand: an hour of the day in his time zone."""

    enabled: bool
    hour: int
    time_zone: str


_OF_ALL = (
    *("id", "user", "name", "channel_type", "enabled", "least_severity", "categories"),
    *("daily_summary", "error", "delivered_at"),
)
_OF_TYPE = {
    ChannelType.EMAIL: ("email",),
    ChannelType.WEBHOOK: ("url",),
    ChannelType.SNS: ("account", "region", "topic_arn"),
}
_OF_TYPES = [name for of_type in _OF_TYPE.values() for name in of_type]
_STATUSES: dict[str, Literal["P", "S", "F"]] = {
    "": "P",
    DeliveryOutcome.DELIVERED: "S",
    DeliveryOutcome.GIVEN_UP: "F",
}


def _channel(*row: Any) -> Channel:
    channel = Channel(*row)
    channel.error = channel.error or None
    channel.topic_arn = channel.topic_arn or None
    for name in _OF_TYPES:
        if name not in _OF_TYPE[ChannelType(channel.channel_type)]:
            setattr(channel, name, UNSET)
    return channel


def _delivery(
    delivery_id: int, key: UUID, kind: DeliveryKind, outcome: str, *rest: Any
) -> Delivery:
    delivery = Delivery(delivery_id, key, kind, _STATUSES[outcome], *rest)
    delivery.error = delivery.error or None
    return delivery


def _summary(enabled: bool, hour: int, time_zone: str) -> DailySummary:
    return DailySummary(enabled, hour, time_zone or settings.ENVIRONMENT.time_zone)


CHANNEL = Shape(Channel, (*_OF_ALL, *_OF_TYPES), _channel)
DELIVERY = Shape(
    Delivery,
    ("id", "key", "kind", "outcome", "attempts", "created_at", "finished_at", "error"),
    _delivery,
)
SUMMARY = Shape(DailySummary, ("summary_enabled", "summary_hour", "summary_time_zone"), _summary)

CHANNELS = Listing(
    CHANNEL,
    filters={
        "channel_type": choice("channel_type", ChannelType),
        "enabled": boolean("enabled"),
        "user": number("user"),
    },
    search=("name",),
    ordering={"name": by_text("name"), "channel_type": by_text("channel_type")},
)
DELIVERIES = Listing(
    DELIVERY,
    filters={"kind": choice("kind", DeliveryKind)},
    ordering={"created_time": by_column("created_at")},
)


def index(request: Request) -> HttpResponseBase:
    """List the channels by which users are told of alerts."""
    return pages.answer(request, request.rows(visible_to), CHANNELS)


def create(request: Request) -> HttpResponse:
    """Create a channel; what it is for is told from now on."""
    channel = notifications.create(request.body(CHANNEL_FIELDS), actor=request.person)
    return answers.one(request, request.rows(visible_to), channel.pk, CHANNEL, status=201)


def show(request: Request, channel_id: int) -> HttpResponse:
    """Retrieve a channel."""
    return answers.one(request, request.rows(visible_to), channel_id, CHANNEL)


def update(request: Request, channel_id: int) -> HttpResponse:
    """Update a channel; what is left out stays as it is, the secret included."""
    visible = request.rows(visible_to)
    request.must_see(visible, channel_id)
    data = request.body(CHANNEL_FIELDS)
    with answers.unchanged(request, visible, channel_id, CHANNEL):
        notifications.update(channel_id, data, actor=request.person)
    return answers.one(request, visible, channel_id, CHANNEL)


def delete(request: Request, channel_id: int) -> HttpResponse:
    """Delete a channel; a topic stays in AWS."""
    with answers.unchanged(request, request.rows(visible_to), channel_id, CHANNEL):
        notifications.delete(channel_id, actor=request.person)
    return answers.nothing()


def test(request: Request, channel_id: int) -> HttpResponse:
    """Send a test message through a channel."""
    delivery = notifications.test(channel_id, actor=request.person)
    rows = request.rows(deliveries, channel_id)
    return answers.one(request, rows, delivery.pk, DELIVERY, status=201)


def index_deliveries(request: Request, channel_id: int) -> HttpResponseBase:
    """List the messages of the last 30 days to a channel, and how it ended with them."""
    request.must_see(request.rows(visible_to), channel_id)
    return pages.answer(request, request.rows(deliveries, channel_id), DELIVERIES)


def show_summary(request: Request) -> HttpResponse:
    """Retrieve when one's daily summary comes."""
    return answers.one(request, request.rows(owner), request.person.owner_id, SUMMARY)


def update_summary(request: Request) -> HttpResponse:
    """Update when one's daily summary comes; what is left out stays as it is."""
    rows, data = request.rows(owner), request.body(SUMMARY_FIELDS)
    with answers.unchanged(request, rows, request.person.owner_id, SUMMARY):
        notifications.update_summary(data, actor=request.person)
    return show_summary(request)


_READ, _WRITE = Action.READ, Action.CHANGE_NOTIFICATIONS
_PATH = "/notifications/channels/"
_SUMMARY = "/notifications/summary/"

OPERATIONS = (
    Operation("GET", _PATH, index, _READ, listing=CHANNELS),
    Operation("POST", _PATH, create, _WRITE, body=CHANNEL_FIELDS, answer=Channel, status=201),
    Operation("GET", f"{_PATH}{{id}}/", show, _READ, answer=Channel),
    Operation("PUT", f"{_PATH}{{id}}/", update, _WRITE, body=CHANNEL_FIELDS, answer=Channel),
    Operation("DELETE", f"{_PATH}{{id}}/", delete, _WRITE, status=204),
    Operation("POST", f"{_PATH}{{id}}/test/", test, _WRITE, answer=Delivery, status=201),
    Operation("GET", f"{_PATH}{{id}}/deliveries/", index_deliveries, _READ, listing=DELIVERIES),
    Operation("GET", _SUMMARY, show_summary, _READ, answer=DailySummary),
    Operation("PUT", _SUMMARY, update_summary, _WRITE, body=SUMMARY_FIELDS, answer=DailySummary),
)
