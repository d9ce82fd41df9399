"""Reads of workers' configurations."""

from django.db.models import QuerySet

from cpm.models.workers import Worker
from cpm.queries.people import Person, owned_by


def visible_to(viewer: Person) -> QuerySet[Worker]:
    """The configurations that somebody sees."""
    return Worker.objects.filter(owned_by(viewer))
