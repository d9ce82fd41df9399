"""Reads of logs: what happened to a record, line by line."""

from datetime import datetime

from django.db.models import QuerySet

from cpm.models.events import Event, Stream
from cpm.queries.people import Person, owned_by


def of_backup(viewer: Person, backup_id: int) -> QuerySet[Event]:
    """The log of a backup, if the viewer sees it."""
    return Event.objects.filter(
        owned_by(viewer, "backup__user"), backup=backup_id, backup__discarded_at=None
    )


def of_recovery(viewer: Person, recovery_id: int) -> QuerySet[Event]:
    """The log of a recovery, if the viewer sees it."""
    return Event.objects.filter(owned_by(viewer, "recovery__user"), recovery=recovery_id)


def of_stream(viewer: Person, stream: Stream, since: datetime) -> QuerySet[Event]:
    """A log that belongs to no record, from a time on; it is root's."""
    lines = Event.objects.filter(stream=stream, at__gte=since)
    return lines if viewer.acts_for_root else lines.none()
