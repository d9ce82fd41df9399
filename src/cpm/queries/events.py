"""Reads of logs: what happened to a record, line by line."""

from django.db.models import QuerySet

from cpm.models.events import Event
from cpm.queries.people import Person, owned_by


def of_backup(viewer: Person, backup_id: int) -> QuerySet[Event]:
    """The log of a backup, if the viewer sees it."""
    return Event.objects.filter(
        owned_by(viewer, "backup__user"), backup=backup_id, backup__discarded_at=None
    )


def of_recovery(viewer: Person, recovery_id: int) -> QuerySet[Event]:
    """The log of a recovery, if the viewer sees it."""
    return Event.objects.filter(owned_by(viewer, "recovery__user"), recovery=recovery_id)
