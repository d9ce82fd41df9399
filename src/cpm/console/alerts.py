"""The page of alerts: what is wrong now, why, and what to do about it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from cpm.console.lists import Page
from cpm.console.visits import for_visitors
from cpm.queries import alerts
from cpm.queries.people import Person


@require_safe
@for_visitors
def index(request: HttpRequest, person: Person) -> HttpResponse:
    """The newest first: those whose cause is still there, or those that are over."""
    are_over = request.GET.get("resolved") == "true"
    rows = alerts.visible_to(person).filter(resolved_at__isnull=not are_over)
    rows = rows.select_related("user", "policy")
    rows = rows.order_by("-resolved_at" if are_over else "-raised_at", "-pk")
    page = Page.of(request, rows)
    given = {"page": page, "are_over": are_over, "person": person}
    return render(request, "console/alerts.html", given)
