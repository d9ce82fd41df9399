"""The page of backups: what ran lately, and what is running."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from cpm.console.lists import Page
from cpm.console.visits import for_visitors
from cpm.models.backups import BackupPhase
from cpm.queries import backups
from cpm.queries.people import Person


@require_safe
@for_visitors
def index(request: HttpRequest, person: Person) -> HttpResponse:
    """The newest records first; the table alone for a page that brings itself up to date."""
    rows = backups.listed(person).select_related("account").order_by("-pk")
    page = Page.of(request, rows)
    is_live = any(backup.phase != BackupPhase.CLOSED for backup in page.rows)
    is_part = request.headers.get("HX-Request") == "true"
    template = "console/backups_table.html" if is_part else "console/backups.html"
    return render(request, template, {"page": page, "is_live": is_live})
