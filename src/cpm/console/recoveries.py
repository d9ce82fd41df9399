"""The pages of recoveries: what was brought back, and what happened in one of them."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from cpm.console.lists import Page, live
from cpm.console.visits import for_visitors
from cpm.models.recoveries import RecoveryPhase
from cpm.queries import events, recoveries
from cpm.queries.errors import one
from cpm.queries.people import Person


@require_safe
@for_visitors
def index(request: HttpRequest, person: Person) -> HttpResponse:
    """The newest records first."""
    page = Page.of(request, recoveries.listed(person).order_by("-pk"))
    is_live = any(recovery.phase != RecoveryPhase.CLOSED for recovery in page.rows)
    return live(request, "recoveries", {"page": page, "is_live": is_live})


@require_safe
@for_visitors
def show(request: HttpRequest, person: Person, recovery_id: int) -> HttpResponse:
    """One record, and its log."""
    recovery = one(recoveries.listed(person), recovery_id)
    lines = events.of_recovery(person, recovery_id).order_by("-pk")
    given = {
        "recovery": recovery,
        "page": Page.of(request, lines),
        "is_live": recovery.phase != RecoveryPhase.CLOSED,
    }
    return live(request, "recovery", given)
