"""Notifications > Daily summary: whether and when it comes."""

from zoneinfo import available_timezones

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from cpm.console.faults import by_field
from cpm.console.visits import for_visitors
from cpm.kernel.invalid import Invalid
from cpm.queries import notifications as queries
from cpm.queries.people import Person
from cpm.services import access, notifications
from cpm.services.access import Action


@require_http_methods(["GET", "HEAD", "POST"])
@for_visitors
def change(request: HttpRequest, person: Person) -> HttpResponse:
    """Tell when the summary of one's own user comes, and change that."""
    owner = queries.owner(person).get()
    given: dict[str, object] = {
        "enabled": owner.summary_enabled,
        "hour": owner.summary_hour,
        "time_zone": owner.summary_time_zone or settings.ENVIRONMENT.time_zone,
        "due_at": owner.summary_due_at,
        "username": owner.username,
        "hours": range(24),
        "time_zones": sorted(available_timezones()),
        "may_change": access.may_ever(person, Action.CHANGE_NOTIFICATIONS),
    }
    if request.method != "POST":
        return render(request, "console/summary.html", given)
    sent = {"hour": request.POST.get("hour", ""), "time_zone": request.POST.get("time_zone", "")}
    try:
        notifications.update_summary({**sent, "enabled": "enabled" in request.POST}, actor=person)
    except Invalid as invalid:
        given |= {**sent, "enabled": "enabled" in request.POST, "errors": by_field(invalid)}
        return render(request, "console/summary.html", given, status=400)
    messages.success(request, "The daily summary is changed.")
    return redirect("summary")
