"""Notifications > Channels: how people are told of alerts, and whether that arrives."""

import secrets
from collections.abc import Mapping

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from cpm.console.faults import by_field
from cpm.console.lists import Page, live
from cpm.console.visits import for_visitors
from cpm.kernel.invalid import Invalid
from cpm.kernel.regions import REGIONS
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.notifications import Channel, ChannelType, DeliveryPhase
from cpm.queries import accounts, notifications
from cpm.queries.errors import NotFound, one
from cpm.queries.people import Person
from cpm.services import access
from cpm.services import notifications as services
from cpm.services.access import Action

_MOST_MESSAGES = 20
_TYPES = {
    ChannelType.EMAIL: "e-mail",
    ChannelType.WEBHOOK: "webhook",
    ChannelType.SNS: "SNS topic",
}
_BOXES = ("enabled", "daily_summary")
_CHANGEABLE = ("name", "email", "url", "least_severity", "categories", *_BOXES)
# What a form of each type asks for, and what of it may be left empty.
_LINES = {ChannelType.EMAIL: ("email",), ChannelType.WEBHOOK: ("url",), ChannelType.SNS: ()}
_IF_FILLED_IN = {
    ChannelType.EMAIL: (),
    ChannelType.WEBHOOK: ("secret",),
    ChannelType.SNS: ("account", "region", "topic_arn"),
}


@require_safe
@for_visitors
def index(request: HttpRequest, person: Person) -> HttpResponse:
    """The channels that somebody sees, each with what became of the last message to it."""
    rows = notifications.visible_to(person).select_related("user").order_by("user__username", "pk")
    page = Page.of(request, rows)
    last = notifications.last_deliveries(person, page.rows)
    given = {
        "page": page,
        "channels": [(channel, last.get(channel.pk)) for channel in page.rows],
        "is_live": any(each.phase == DeliveryPhase.WAITING for each in last.values()),
        "person": person,
        "types": _TYPES.items(),
        "may_change": _may_change(person),
    }
    return live(request, "channels", given)


@require_safe
@for_visitors
def show(request: HttpRequest, person: Person, channel_id: int) -> HttpResponse:
    """One channel, and the last messages to it."""
    rows = notifications.visible_to(person).select_related("user", "account")
    channel = one(rows, channel_id)
    deliveries = notifications.deliveries(person, channel_id).defer("body").order_by("-pk")
    newest = list(deliveries[:_MOST_MESSAGES])
    given = {
        "channel": channel,
        "deliveries": newest,
        "is_live": any(each.phase == DeliveryPhase.WAITING for each in newest),
        "may_change": _may_change(person),
    }
    return live(request, "channel", given)


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("secret")
@for_visitors
def add(request: HttpRequest, person: Person, channel_type: str) -> HttpResponse:
    """Make a channel; a secret that the server has thought of is shown this once."""
    access.require(person, Action.CHANGE_NOTIFICATIONS)
    if channel_type not in ChannelType.values:
        raise NotFound
    kind = ChannelType(channel_type)
    if request.method != "POST":
        return _form(request, person, kind, dict.fromkeys(_BOXES, True))
    sent = _sent(request.POST, kind)
    secret = "" if kind != ChannelType.WEBHOOK or "secret" in sent else secrets.token_urlsafe(32)
    made = {"secret": secret} if secret else {}
    try:
        channel = services.create({**sent, **made, "channel_type": kind.value}, actor=person)
    except Invalid as invalid:
        return _form(request, person, kind, sent, invalid=invalid)
    if secret:
        return render(request, "console/secret.html", {"channel": channel, "secret": secret})
    messages.success(request, f"Channel {channel.name} is made. Send a test by it.")
    return redirect("channel", channel.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("secret")
@for_visitors
def change(request: HttpRequest, person: Person, channel_id: int) -> HttpResponse:
    """Change where a channel leads, and what it is told of."""
    access.require(person, Action.CHANGE_NOTIFICATIONS)
    channel = one(notifications.visible_to(person), channel_id)
    kind = ChannelType(channel.channel_type)
    if request.method != "POST":
        values = {name: getattr(channel, name) for name in _CHANGEABLE}
        return _form(request, person, kind, values, channel=channel)
    sent = _sent(request.POST, kind)
    try:
        services.update(channel_id, sent, actor=person)
    except Invalid as invalid:
        return _form(request, person, kind, sent, invalid=invalid, channel=channel)
    messages.success(request, f"Channel {sent['name']} is changed.")
    return redirect("channel", channel_id)


@require_POST
@for_visitors
def test(request: HttpRequest, person: Person, channel_id: int) -> HttpResponse:
    """Send a test message; the page that follows says whether it has arrived."""
    try:
        services.test(channel_id, actor=person)
    except Invalid as invalid:
        messages.error(request, str(invalid))
    else:
        messages.success(request, "A test message is on its way.")
    return redirect("channel", channel_id)


@require_POST
@for_visitors
def remove(request: HttpRequest, person: Person, channel_id: int) -> HttpResponse:
    """Forget a channel."""
    services.delete(channel_id, actor=person)
    messages.success(request, "The channel is removed.")
    return redirect("channels")


def _may_change(person: Person) -> bool:
    return access.may_ever(person, Action.CHANGE_NOTIFICATIONS)


def _sent(form: QueryDict, kind: ChannelType) -> dict[str, object]:
    """What a form says: a box that is not ticked says no."""
    sent: dict[str, object] = {
        name: form.get(name, "") for name in ("name", "least_severity", *_LINES[kind])
    }
    sent |= {name: form[name] for name in _IF_FILLED_IN[kind] if form.get(name)}
    sent |= {name: name in form for name in _BOXES}
    return {**sent, "categories": form.getlist("categories")}


def _form(
    request: HttpRequest,
    person: Person,
    kind: ChannelType,
    values: Mapping[str, object],
    *,
    invalid: Invalid | None = None,
    channel: Channel | None = None,
) -> HttpResponse:
    """The form, with what was sent but for the secret, and what is wrong with it."""
    given: dict[str, object] = {
        "kind": kind,
        "type": _TYPES[kind],
        "channel": channel,
        "values": {name: value for name, value in values.items() if name != "secret"},
        "errors": by_field(invalid) if invalid else {},
        "severities": AlertSeverity.values,
        "categories": AlertCategory.values,
        "least_secret": services.LEAST_SECRET,
    }
    if kind == ChannelType.SNS and channel is None:
        own = accounts.backup_accounts(person).filter(user=person.owner_id)
        given |= {"accounts": own.order_by("name"), "regions": REGIONS}
    return render(request, "console/channel_form.html", given, status=400 if invalid else 200)
