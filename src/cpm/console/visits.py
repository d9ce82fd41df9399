"""Who is looking at a page, and what every page promises to the browser."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from cpm.models.users import User
from cpm.queries import people
from cpm.queries.errors import NotFound
from cpm.queries.people import Person
from cpm.services.errors import Forbidden

log = logging.getLogger(__name__)

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, P], HttpResponse]

# How long a browser may wait before it asks again, when the database is away.
_RETRY_SECONDS = "5"
# Everything comes from this server: no inline scripts and styles, no frames, no other forms.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "connect")),
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


def open_to_all(page: Page[P]) -> Page[P]:
    """A page that nobody has to log in for."""

    @wraps(page)
    def shown(request: HttpRequest, /, *args: P.args, **named: P.kwargs) -> HttpResponse:
        try:
            response = page(request, *args, **named)
        except (OperationalError, InterfaceError) as error:
            response = _unavailable(error)
        response["Content-Security-Policy"] = _POLICY
        response["Cache-Control"] = "no-store"
        return response

    return shown


def for_visitors(
    page: Callable[Concatenate[HttpRequest, Person, P], HttpResponse],
) -> Page[P]:
    """A page for whoever is logged in; others are asked to log in first.

    Of what he may not see he is told that it is not there, of what he may not do that he may not.
    """

    @wraps(page)
    def shown(request: HttpRequest, /, *args: P.args, **named: P.kwargs) -> HttpResponse:
        person = visitor(request)
        if person is None:
            return redirect_to_login(request.get_full_path(), settings.LOGIN_URL)
        try:
            return page(request, person, *args, **named)
        except (NotFound, Forbidden) as refused:
            status = 403 if isinstance(refused, Forbidden) else 404
            reason = {"reason": refused.message}
            return render(request, "console/refused.html", reason, status=status)

    return open_to_all(shown)


def visitor(request: HttpRequest) -> Person | None:
    """Who is logged in, as he is now; None when nobody is, or he may not be any longer."""
    user = request.user
    if not isinstance(user, User):
        return None
    owner = user.original_user or user
    return people.of(user, source_address(request)) if owner.is_active else None


def source_address(request: HttpRequest) -> str:
    """Where a request comes from."""
    return str(request.META.get("REMOTE_ADDR", ""))


def _unavailable(error: Exception) -> HttpResponse:
    """What is shown without the database, which also knows who is looking."""
    log.error("the database does not answer: %s", error)
    text = render_to_string("console/unavailable.html")
    return HttpResponse(text, status=503, headers={"Retry-After": _RETRY_SECONDS})
