"""Reads of users."""

from django.db.models import QuerySet

from cpm.models.backups import Backup, BackupPhase
from cpm.models.operations import Operation, OperationPhase
from cpm.models.recoveries import Recovery, RecoveryPhase
from cpm.models.users import User, UserKind
from cpm.queries.people import Person


def visible_to(viewer: Person) -> QuerySet[User]:
    """The users that somebody sees: root all of them, others themselves; never delegates."""
    users = User.objects.exclude(kind__in=(UserKind.DELEGATE, UserKind.GONE))
    return users if viewer.acts_for_root else users.filter(pk=viewer.owner_id)


def has_work_in_progress(user: User) -> bool:
    """Whether anything is under way for the user, in AWS or on its way there."""
    operations = Operation.objects.exclude(phase=OperationPhase.CLOSED)
    return (
        Backup.objects.filter(user=user).exclude(phase=BackupPhase.CLOSED).exists()
        or Backup.objects.filter(user=user, dr_due_at__isnull=False).exists()
        or Backup.objects.filter(user=user, s3_due_at__isnull=False).exists()
        or Recovery.objects.filter(user=user).exclude(phase=RecoveryPhase.CLOSED).exists()
        or operations.filter(account__user=user).exists()
        or operations.filter(backup__user=user).exists()
    )
