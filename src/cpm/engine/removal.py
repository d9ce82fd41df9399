"""Removes what deleted users have left in here, a piece at a time; AWS is not asked for anything.

A user's records may be hundreds of thousands, with millions of rows that refer to them. In one
transaction, PostgreSQL would look for references to each of them for minutes.
"""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from cpm.engine import jobs
from cpm.models.accounts import Account, Authentication
from cpm.models.backups import Backup
from cpm.models.policies import Policy, PolicySchedule
from cpm.models.users import User, UserKind

# Records that go in one transaction, with all that refers to them: about a second's work.
PIECE = 500


def begin(user: User) -> None:
    """Take all that is his out of everybody's sight and out of work. The caller holds a lock."""
    PolicySchedule.objects.filter(policy__user=user).delete()
    Backup.objects.filter(user=user, retry_at__isnull=False).update(retry_at=None)
    user.channels.all().delete()
    user.workers.all().delete()
    # Whatever comes to look at one of his accounts meanwhile cannot get in.
    Account.objects.filter(user=user).update(
        authentication=Authentication.IAM_USER,
        aws_access_key="",
        sealed_secret=None,
        assume_from_account=None,
        scan_tagged_resources=False,
    )
    User.objects.filter(pk=user.pk).update(kind=UserKind.GONE)
    jobs.defer_removal(user.pk)


@jobs.REMOVE_USER.runs
def remove(user_id: int) -> None:
    """Remove the next piece of what a user has left; with the last one he goes himself."""
    user = User.objects.filter(pk=user_id, kind=UserKind.GONE).first()
    if user is None:
        return
    with transaction.atomic():
        if _remove_some(user.backups.all()) or _remove_some(user.recoveries.all()):
            jobs.defer_removal(user_id)
            return
        Policy.objects.filter(user=user).delete()
        user.s3_repositories.all().delete()
        user.delete()


def _remove_some(records: QuerySet[Any]) -> bool:
    """Remove so many of the records; False when there are none."""
    ids = list(records.order_by("pk").values_list("pk", flat=True)[:PIECE])
    records.filter(pk__in=ids).delete()
    return bool(ids)
