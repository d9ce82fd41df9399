"""Reads of S3 repositories."""

from django.db.models import Q, QuerySet

from cpm.models.repositories import S3Repository
from cpm.models.s3_copies import S3Copy, S3CopyPhase
from cpm.models.snapshots import SnapshotStatus
from cpm.queries.people import Person, owned_by


def visible_to(viewer: Person) -> QuerySet[S3Repository]:
    """The repositories that somebody sees."""
    return S3Repository.objects.filter(owned_by(viewer))


def uses_of(repository: S3Repository) -> list[str]:
    """What refers to the repository and would break without it, in words."""
    policies = repository.policies.order_by("name").values_list("name", flat=True)
    copies = remaining_copies(repository).count()
    return [*(f"policy {name}" for name in policies), *([f"{copies} copies"] if copies else [])]


def remaining_copies(repository: S3Repository) -> QuerySet[S3Copy]:
    """The copies that are there, or are being made."""
    there = Q(snapshot__status=SnapshotStatus.SUCCEEDED)
    return repository.copies.filter(there | ~Q(phase=S3CopyPhase.CLOSED))
