"""Logging in and out by the organisation's identity provider."""

from dataclasses import asdict

from django.contrib.auth import login, logout
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from cpm.console import logins as pages
from cpm.console.visits import open_to_all, source_address, visitor
from cpm.engine.settings import IdentityProvider
from cpm.services import logins, saml
from cpm.services.attempts import TooMany
from cpm.services.provided import ClaimsRefused
from cpm.services.saml import NotVouchedFor

# The provider has browsers send its answers from its own pages, where no other cookie goes along.
_COOKIE = "cpm_log_in"
_COOKIE_PATH = "/remote_auth/complete_login/"
_COOKIE_SECONDS = 15 * 60

_TOO_LATE = "Your log-in has taken too long, or began somewhere else. Log in again from this page."
_NOT_ACCEPTED = (
    "The answer of your organisation was not accepted. Log in again; if that does not help, ask"
    " your administrator, who finds the reason in the audit trail."
)


@require_safe
@open_to_all
def metadata(request: HttpRequest) -> HttpResponse:
    """What the provider has to know about this server."""
    content = saml.metadata(request.get_host())
    return HttpResponse(content, content_type="application/samlmetadata+xml")


@require_safe
@open_to_all
def log_in(request: HttpRequest) -> HttpResponse:
    """Ask the provider who this is."""
    provider = IdentityProvider.current()
    if not provider.enabled:
        return redirect("login")
    if request.get_host() != provider.server_host:
        return redirect(f"https://{provider.server_host}{request.get_full_path()}")
    question = saml.ask(provider)
    response = redirect(question.url)
    response.set_cookie(
        _COOKIE,
        signing.dumps([question.request_id, request.GET.get("next", "")], salt=_COOKIE),
        max_age=_COOKIE_SECONDS,
        path=_COOKIE_PATH,
        secure=True,
        httponly=True,
        samesite="None",
    )
    return response


@csrf_exempt  # the answer says itself which question of this browser it is to
@require_POST
@open_to_all
def complete_log_in(request: HttpRequest) -> HttpResponse:
    """Let in whom the provider vouches for."""
    request_id, wanted = _asked(request)
    try:
        person, subject = logins.log_in_by_provider(
            request.POST.get("SAMLResponse", ""), request_id, source_address(request)
        )
    except (NotVouchedFor, ClaimsRefused, TooMany) as refused:
        response = pages.ask(request, _message(refused, request_id), status=_status(refused))
    else:
        login(request, person, backend=pages.BACKEND)
        request.session[pages.SUBJECT] = asdict(subject)
        response = redirect(pages.within(request, wanted))
    response.delete_cookie(_COOKIE, path=_COOKIE_PATH, samesite="None")
    return response


@require_safe
@open_to_all
def complete_log_out(request: HttpRequest) -> HttpResponse:
    """Come back from a log-out at the provider, or be logged out because it says so."""
    if "SAMLRequest" not in request.GET:
        return redirect("login")
    try:
        wish = saml.read_log_out(request.META.get("QUERY_STRING", ""))
    except NotVouchedFor:
        return pages.ask(request, "You were not logged out: log out here.", status=400)
    subject = request.session.get(pages.SUBJECT)
    if subject and subject["name"] == wish.name:
        person = visitor(request)
        if person is not None:
            logins.log_out(person)
        logout(request)
    return redirect(wish.answer_url)


def _asked(request: HttpRequest) -> tuple[str, str]:
    """The question that this browser was sent away with, and the page that it wanted."""
    try:
        cookie = request.COOKIES.get(_COOKIE, "")
        request_id, wanted = signing.loads(cookie, salt=_COOKIE, max_age=_COOKIE_SECONDS)
    except signing.BadSignature:
        return "", ""
    return request_id, wanted


def _message(refused: Exception, request_id: str) -> str:
    if isinstance(refused, TooMany):
        return pages.try_again_in(refused)
    if isinstance(refused, ClaimsRefused):
        return str(refused)
    return _NOT_ACCEPTED if request_id else _TOO_LATE


def _status(refused: Exception) -> int:
    return 429 if isinstance(refused, TooMany) else 403
