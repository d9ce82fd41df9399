"""Reads of logs: what happened to a record, line by line."""

from datetime import datetime

from django.db.models import BigIntegerField, Max, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from cpm.models.events import Event, Stream
from cpm.queries.people import Person, owned_by, under_root


def of_backup(viewer: Person, backup_id: int) -> QuerySet[Event]:
    """The log of a backup, if the viewer sees it."""
    return Event.objects.filter(
        owned_by(viewer, "backup__user"), backup=backup_id, backup__discarded_at=None
    )


def of_recovery(viewer: Person, recovery_id: int) -> QuerySet[Event]:
    """The log of a recovery, if the viewer sees it."""
    return Event.objects.filter(owned_by(viewer, "recovery__user"), recovery=recovery_id)


def of_stream(viewer: Person, stream: Stream, since: datetime) -> QuerySet[Event]:
    """A log that belongs to no record, from a time on.

    It is root's, but for the lines about users whose objects he does not see.
    """
    return _lines(viewer, stream).filter(at__gte=since)


def newer_than_now(viewer: Person, stream: Stream) -> QuerySet[Event]:
    """What such a log will have beyond what it has now."""
    lines = _lines(viewer, stream)
    last: int = lines.aggregate(last=Max("pk"))["last"] or 0
    return lines.filter(pk__gt=last)


def _lines(viewer: Person, stream: Stream) -> QuerySet[Event]:
    lines = Event.objects.filter(stream=stream)
    if not viewer.acts_for_root:
        return lines.none()
    owner = Cast(KeyTextTransform("owner", "values"), BigIntegerField())
    is_seen = Q(owner=None) | Q(owner__in=under_root().values("pk"))
    return lines.annotate(owner=owner).filter(is_seen)
