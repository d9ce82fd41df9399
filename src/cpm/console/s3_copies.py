"""The page of copies to S3: which are under way and how far they are, and which failed and why."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from cpm.console.lists import Page, live
from cpm.console.visits import for_visitors
from cpm.models.backups import Backup
from cpm.models.s3_copies import S3CopyPhase
from cpm.queries import backups, s3_copies
from cpm.queries.people import Person

_VIEWS = {
    "": ("Under way", s3_copies.under_way),
    "failed": ("Failed", s3_copies.failed),
    "complete": ("Complete", s3_copies.complete),
    "all": ("All", s3_copies.listed),
}
_MOST_RUNS = 20
_RELATED = ("backup", "snapshot__backup", "repository")


@require_safe
@for_visitors
def index(request: HttpRequest, person: Person) -> HttpResponse:
    """The newest copies first, of all backups or of one; before them the runs that are copied."""
    view, backup_id = request.GET.get("view", ""), _number(request.GET.get("backup", ""))
    view = view if view in _VIEWS else ""
    _, of_view = _VIEWS[view]
    rows = of_view(person).select_related(*_RELATED).order_by("-pk")
    if backup_id is not None:
        rows = rows.filter(snapshot__backup=backup_id)
    page = Page.of(request, rows)
    runs = _runs(person) if not view and backup_id is None else []
    given = {
        "page": page,
        "view": view,
        "views": [(each, title) for each, (title, _) in _VIEWS.items()],
        "backup_id": backup_id,
        "runs": runs[:_MOST_RUNS],
        "has_more_runs": len(runs) > _MOST_RUNS,
        "is_live": any(copy.phase != S3CopyPhase.CLOSED for copy in page.rows),
    }
    return live(request, "s3_copies", given)


def _runs(person: Person) -> list[Backup]:
    """The records that have copies in their charge which are not over, one more than is shown."""
    copying = backups.listed(person).filter(s3_due_at__isnull=False)
    ordered = copying.select_related("s3_repository").order_by("s3_started_at", "pk")
    return list(ordered[: _MOST_RUNS + 1])


def _number(text: str) -> int | None:
    return int(text[:18]) if text.isascii() and text.isdigit() else None
