"""The pages of backups: what ran lately, what is running, and what happened in one of them."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from cpm.console.lists import Page, live
from cpm.console.visits import for_visitors
from cpm.models.backups import Backup, BackupPhase, CopyStatus
from cpm.models.recoveries import RecoveryPhase
from cpm.queries import backups, events, recoveries
from cpm.queries.errors import one
from cpm.queries.people import Person

_MOST_RECOVERIES = 20


@require_safe
@for_visitors
def index(request: HttpRequest, person: Person) -> HttpResponse:
    """The newest records first."""
    rows = backups.listed(person).select_related("account").order_by("-pk")
    page = Page.of(request, rows)
    is_live = any(backup.phase != BackupPhase.CLOSED for backup in page.rows)
    return live(request, "backups", {"page": page, "is_live": is_live})


@require_safe
@for_visitors
def show(request: HttpRequest, person: Person, backup_id: int) -> HttpResponse:
    """One record, how far its copies in S3 are, what is recovered from it, and its log."""
    backup = one(backups.listed(person), backup_id)
    recovered = recoveries.listed(person).filter(backup=backup).order_by("-pk")
    newest = list(recovered[:_MOST_RECOVERIES])
    given = {
        "backup": backup,
        "recoveries": newest,
        "page": Page.of(request, events.of_backup(person, backup_id).order_by("-pk")),
        "is_live": _goes_on(backup) or any(each.phase != RecoveryPhase.CLOSED for each in newest),
    }
    return live(request, "backup", given)


def _goes_on(backup: Backup) -> bool:
    copying = CopyStatus.IN_PROGRESS in {backup.dr_status, backup.s3_status}
    return copying or backup.phase != BackupPhase.CLOSED
