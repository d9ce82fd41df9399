"""The page of policies."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from cpm.console.lists import Page
from cpm.console.visits import for_visitors
from cpm.queries import policies
from cpm.queries.people import Person


@require_safe
@for_visitors
def index(request: HttpRequest, person: Person) -> HttpResponse:
    """The policies that somebody sees, with how each last ran."""
    rows = policies.listed(person).select_related("account", "user")
    rows = rows.prefetch_related("schedules").order_by("name", "pk")
    search = request.GET.get("search", "").strip()
    if search:
        rows = rows.filter(name__icontains=search.replace("\x00", ""))
    page = Page.of(request, rows)
    return render(request, "console/policies.html", {"page": page, "search": search})
