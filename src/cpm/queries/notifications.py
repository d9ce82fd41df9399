"""Reads of what tells users of alerts."""

from collections.abc import Iterable

from django.db.models import QuerySet

from cpm.models.notifications import Channel, Delivery
from cpm.models.users import User
from cpm.queries.people import Person, owned_by


def visible_to(viewer: Person) -> QuerySet[Channel]:
    """The channels that somebody sees."""
    return Channel.objects.filter(owned_by(viewer))


def deliveries(viewer: Person, channel_id: int) -> QuerySet[Delivery]:
    """The messages to one of them, those of the last weeks."""
    return Delivery.objects.filter(owned_by(viewer, "channel__user"), channel=channel_id)


def last_deliveries(viewer: Person, channels: Iterable[Channel]) -> dict[int, Delivery]:
    """The last message to each of them, by the channel's id, where there was one lately."""
    rows = Delivery.objects.filter(owned_by(viewer, "channel__user"), channel__in=channels)
    newest = rows.defer("body").order_by("channel", "-pk").distinct("channel")
    return {delivery.channel_id: delivery for delivery in newest}


def owner(viewer: Person) -> QuerySet[User]:
    """The one user whose daily summary somebody sees: his own, or his original user's."""
    return User.objects.filter(pk=viewer.owner_id)
