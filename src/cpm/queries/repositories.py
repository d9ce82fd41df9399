"""Reads of S3 repositories."""

from django.db.models import QuerySet

from cpm.models.repositories import S3Repository
from cpm.queries.people import Person, owned_by


def visible_to(viewer: Person) -> QuerySet[S3Repository]:
    """The repositories that somebody sees."""
    return S3Repository.objects.filter(owned_by(viewer))
