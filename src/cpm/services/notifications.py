"""Writes of what tells users of alerts: channels, and the daily summary."""

import re
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction

from cpm.engine import alerts, jobs, messages, notices, summaries, topics, webhooks
from cpm.kernel import names, regions
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.accounts import Account
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.notifications import Channel, ChannelType, Delivery, DeliveryKind, DeliveryPhase
from cpm.models.users import User
from cpm.queries import notifications
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.services import access, audit, references, unique
from cpm.services.access import Action
from cpm.services.fields import Field, Fields, Kind
from cpm.services.given import Given
from cpm.services.kinds import array, boolean, choice, email, integer, password, reference, text

MOST_CHANNELS = 50
# As long as a key that nobody guesses.
LEAST_SECRET = 16
_TOPIC = re.compile(r"arn:aws(?:-cn|-us-gov)?:sns:([a-z0-9-]+):[0-9]{12}:[A-Za-z0-9_-]{1,256}")


def _webhook_url(value: str) -> str:
    url = names.url(value)
    if problem := webhooks.refusal(url):
        raise Invalid(Problem("invalid", problem))
    return url


def _topic_arn(value: str) -> str:
    found = _TOPIC.fullmatch(value.strip())
    if not found or regions.by_name(found[1]) is None:
        raise Invalid(Problem("invalid", "Enter the ARN of a standard SNS topic."))
    return found[0]


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        message = "Enter a time zone such as Europe/Berlin."
        raise Invalid(Problem("invalid", message)) from None
    return value


def _secret() -> Kind:
    kind = password()

    def read(value: object) -> str:
        secret = str(kind.read(value))
        if len(secret) < LEAST_SECRET:
            message = f"Ensure this field has at least {LEAST_SECRET} characters."
            raise Invalid(Problem("min_length", message))
        return secret

    return Kind(read, {**kind.schema, "minLength": LEAST_SECRET})


CHANNEL_FIELDS = Fields(
    (
        Field("name", text(names.name), required=True),
        Field("user", reference(), fixed=True),
        Field("channel_type", choice(*ChannelType), required=True, fixed=True),
        Field("enabled", boolean()),
        Field("least_severity", choice(*AlertSeverity)),
        Field("categories", array(choice(*AlertCategory)), description="None stands for all."),
        Field("daily_summary", boolean()),
        Field("email", email()),
        Field("url", text(_webhook_url, max_length=names.MAX_URL_LENGTH)),
        Field("secret", _secret(), description="What messages are signed with."),
        Field("account", reference(), fixed=True, description="Whose topic it is."),
        Field("region", references.region_name(), fixed=True),
        Field(
            "topic_arn",
            text(_topic_arn, max_length=300),
            fixed=True,
            description="The server makes a topic where none is given.",
        ),
    )
)
SUMMARY_FIELDS = Fields(
    (
        Field("enabled", boolean()),
        Field("hour", integer(0, 23)),
        Field("time_zone", text(_time_zone, max_length=64)),
    )
)

# What each type needs, and what it may have besides.
_NEEDED = {
    ChannelType.EMAIL: ("email",),
    ChannelType.SNS: ("account", "region"),
    ChannelType.WEBHOOK: ("url", "secret"),
}
_OPTIONAL = {ChannelType.SNS: ("topic_arn",)}
_OF_TYPES = {*(name for needed in _NEEDED.values() for name in needed), "topic_arn"}
_COLUMNS = {"secret": "sealed_secret", "account": "account_id"}


@transaction.atomic
def create(data: Mapping[str, object], *, actor: Person) -> Channel:
    """Make a channel. Raises `Forbidden` and `Invalid`."""
    access.require(actor, Action.CHANGE_NOTIFICATIONS)
    given = CHANNEL_FIELDS.read(data)
    channel = Channel(user_id=access.choose_owner(given, actor))
    channel.channel_type = given.get("channel_type", "")
    if channel.channel_type == ChannelType.SNS:
        own = Account.objects.filter(user_id=channel.user_id, is_dr_account=False)
        references.refuse_foreign_account(given, own)
    _refuse_too_many(given, channel)
    _apply(given, channel)
    with unique.kept_by("channel_name_unique", "name"):
        channel.save(force_insert=True)
    if topics.is_missing(channel):
        jobs.defer_notices([channel.pk])
    audit.record(actor, "create notification channel", channel.name)
    return channel


@transaction.atomic
def update(channel_id: int, data: Mapping[str, object], *, actor: Person) -> None:
    """Change what `data` holds. Raises `Forbidden`, `NotFound` and `Invalid`."""
    access.require(actor, Action.CHANGE_NOTIFICATIONS)
    channel = _locked(channel_id, actor)
    given = CHANNEL_FIELDS.read(data, partial=True)
    columns = _apply(given, channel)
    with unique.kept_by("channel_name_unique", "name"):
        channel.save(update_fields=columns)
    if not channel.enabled:
        channel.deliveries.filter(phase=DeliveryPhase.WAITING).delete()
        channel.notices.all().delete()
        alerts.resolve(notices.cause_of(channel))
    audit.record(actor, "update notification channel", channel.name, ", ".join(given))


@transaction.atomic
def delete(channel_id: int, *, actor: Person) -> None:
    """Forget a channel; a topic stays in AWS. Raises `Forbidden` and `NotFound`."""
    access.require(actor, Action.CHANGE_NOTIFICATIONS)
    channel = _locked(channel_id, actor)
    name = channel.name
    alerts.resolve(notices.cause_of(channel))
    channel.delete()
    audit.record(actor, "delete notification channel", name)


@transaction.atomic
def test(channel_id: int, *, actor: Person) -> Delivery:
    """Have a message sent that says nothing but that it came.

    Raises `Forbidden`, `NotFound`, and `Invalid` for a channel that is not enabled.
    """
    access.require(actor, Action.CHANGE_NOTIFICATIONS)
    channel = _locked(channel_id, actor)
    if not channel.enabled:
        raise Invalid(Problem("invalid", "The channel is not enabled."))
    delivery = messages.write(channel, DeliveryKind.TEST, {})
    jobs.defer_notices([channel.pk])
    audit.record(actor, "test notification channel", channel.name)
    return delivery


@transaction.atomic
def update_summary(data: Mapping[str, object], *, actor: Person) -> None:
    """Change the daily summary of the actor's own user. Raises `Forbidden` and `Invalid`."""
    access.require(actor, Action.CHANGE_NOTIFICATIONS)
    given = SUMMARY_FIELDS.read(data, partial=True)
    given.check()
    user = User.objects.select_for_update(no_key=True).get(pk=actor.owner_id)
    for name, value in given.items():
        setattr(user, f"summary_{name}", value)
    user.summary_due_at = None
    if user.summary_enabled:
        user.summary_due_at = summaries.next_time(user.summary_hour, user.summary_time_zone)
    user.save(update_fields=[*(f"summary_{name}" for name in given), "summary_due_at"])
    audit.record(actor, "update daily summary", user.username, ", ".join(given))


def _locked(channel_id: int, actor: Person) -> Channel:
    rows = notifications.visible_to(actor).select_for_update(of=("self",))
    return one(rows.select_related("user"), channel_id)


def _apply(given: Given, channel: Channel) -> list[str]:
    """Put what is given into the row, but for what is of other types; tells the columns.

    Raises `Invalid`.
    """
    own = _own(channel)
    given.problems = [each for each in given.problems if each.field not in _OF_TYPES - own]
    for name in _OF_TYPES - own:
        given.pop(name, None)
    if "topic_arn" in given:
        given["region"] = given["topic_arn"].split(":")[3]
    _refuse_incomplete(given, channel)
    siblings = Channel.objects.filter(user_id=channel.user_id).exclude(pk=channel.pk)
    unique.refuse_taken(given, "name", siblings)
    given.check()
    columns = _columns(given)
    for column, value in columns.items():
        setattr(channel, column, value)
    return list(columns)


def _own(channel: Channel) -> set[str]:
    """The fields of a channel's own type; none where it is unknown."""
    if channel.channel_type not in ChannelType.values:
        return set()
    kind = ChannelType(channel.channel_type)
    return {*_NEEDED[kind], *_OPTIONAL.get(kind, ())}


def _refuse_incomplete(given: Given, channel: Channel) -> None:
    refused = {problem.field for problem in given.problems}
    needed = _own(channel) - {"topic_arn"} - refused
    for name in sorted(needed):
        if not given.get(name, getattr(channel, _COLUMNS.get(name, name))):
            given.refuse(name, "required", "This field is required.")


def _refuse_too_many(given: Given, channel: Channel) -> None:
    if Channel.objects.filter(user_id=channel.user_id).count() >= MOST_CHANNELS:
        given.refuse("", "limit_exceeded", f"A user has at most {MOST_CHANNELS} channels.")


def _columns(given: Given) -> dict[str, Any]:
    """What is given, by column."""
    columns = {_COLUMNS.get(name, name): value for name, value in given.items() if name != "user"}
    if "sealed_secret" in columns:
        columns["sealed_secret"] = settings.SEALER.seal(columns["sealed_secret"])
    return columns
