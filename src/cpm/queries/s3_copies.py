"""Reads of copies in S3 one by one, whichever records they belong to."""

from django.db.models import QuerySet

from cpm.engine import s3_progress
from cpm.models.backups import CopyOutcome
from cpm.models.s3_copies import S3Copy, S3CopyPhase
from cpm.queries.people import Person, owned_by


def listed(viewer: Person) -> QuerySet[S3Copy]:
    """The copies of the records that somebody sees.

    `s3_progress` is for `Progress.of`: how far those are that are being made.
    """
    rows = S3Copy.objects.filter(
        owned_by(viewer, "snapshot__backup__user"), snapshot__backup__discarded_at=None
    )
    return rows.annotate(s3_progress=s3_progress.of_copies())


def under_way(viewer: Person) -> QuerySet[S3Copy]:
    """Those of them that are not over, or have yet to begin."""
    # By the records that have copies in their charge: those are few, however many are over.
    copying = listed(viewer).filter(backup__s3_due_at__isnull=False)
    return copying.exclude(phase=S3CopyPhase.CLOSED)


def failed(viewer: Person) -> QuerySet[S3Copy]:
    """Those that were given up."""
    return listed(viewer).filter(outcome=CopyOutcome.FAILED)


def complete(viewer: Person) -> QuerySet[S3Copy]:
    """Those that were made, whether or not they have been deleted since."""
    return listed(viewer).filter(outcome=CopyOutcome.SUCCEEDED)
