"""Logging in and out with a password, and changing one's password."""

from django.contrib import messages
from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from cpm.console.faults import by_field
from cpm.console.visits import for_visitors, open_to_all, source_address, visitor
from cpm.engine.settings import IdentityProvider
from cpm.kernel.invalid import Invalid
from cpm.queries.people import Person
from cpm.services import logins, saml, users
from cpm.services.attempts import TooMany
from cpm.services.logins import LoginRefused
from cpm.services.saml import Subject

HOME = "policies"
# Where a session keeps by what the identity provider knows its visitor.
SUBJECT = "subject"
BACKEND = "django.contrib.auth.backends.ModelBackend"
_MINUTE_SECONDS = 60


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("password")
@open_to_all
def log_in(request: HttpRequest) -> HttpResponse:
    """Ask for name and password, and let in who has them."""
    if request.method != "POST":
        return redirect(HOME) if visitor(request) else ask(request)
    username, password = request.POST.get("username", ""), request.POST.get("password", "")
    try:
        person = logins.log_in(username, password, source_address(request))
    except LoginRefused:
        return ask(request, "User name or password is wrong.", status=403)
    except TooMany as limit:
        return ask(request, try_again_in(limit), status=429)
    login(request, person, backend=BACKEND)
    return redirect(within(request, request.POST.get("next", "")))


@require_POST
@for_visitors
def log_out(request: HttpRequest, person: Person) -> HttpResponse:
    """End the visit, and the one at the identity provider through which it came about."""
    subject = request.session.get(SUBJECT)
    logins.log_out(person)
    logout(request)
    elsewhere = saml.log_out_url(Subject(**subject)) if subject else None
    if elsewhere is None:
        return redirect("login")
    # No redirect: browsers let a form lead to this server alone.
    return render(request, "console/leaving.html", {"url": elsewhere})


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("old_password", "new_password", "again")
@for_visitors
def change_password(request: HttpRequest, person: Person) -> HttpResponse:
    """Change one's own password; all visits of the person end with it."""
    if request.method != "POST":
        return render(request, "console/password.html")
    if request.POST.get("new_password") != request.POST.get("again"):
        errors = {"again": ["The two new passwords are not the same."]}
        return render(request, "console/password.html", {"errors": errors}, status=400)
    try:
        users.change_own_password(request.POST, actor=person)
    except Invalid as invalid:
        errors = by_field(invalid, otherwise="old_password")
        return render(request, "console/password.html", {"errors": errors}, status=400)
    logout(request)
    messages.success(request, "Your password is changed. Log in with the new one.")
    return redirect("login")


def ask(request: HttpRequest, error: str = "", *, status: int = 200) -> HttpResponse:
    """The page for logging in, and why it did not work so far."""
    given = {
        "has_provider": IdentityProvider.current().enabled,
        "error": error,
        "next": request.POST.get("next", request.GET.get("next", "")),
        "username": request.POST.get("username", ""),
    }
    return render(request, "console/login.html", given, status=status)


def try_again_in(limit: TooMany) -> str:
    """What to do about too many attempts."""
    minutes = -(-limit.retry_after_seconds // _MINUTE_SECONDS)
    return f"Too many attempts. Try again in {minutes} minutes."


def within(request: HttpRequest, page: str) -> str:
    """The page that was asked for before the log-in, if it is one of this server."""
    is_ours = url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=True)
    return page if is_ours else HOME
