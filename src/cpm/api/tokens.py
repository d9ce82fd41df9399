"""Exchanging API keys for tokens."""

from django.http import HttpResponse
from msgspec import Struct

from cpm.api import answers, authentication, bodies
from cpm.api.operations import Operation
from cpm.api.refusals import Throttled, Unauthenticated
from cpm.api.request import Request
from cpm.api.shapes import Shown
from cpm.services import tokens
from cpm.services.attempts import TooMany
from cpm.services.fields import Field, Fields
from cpm.services.kinds import text

KEY = Fields((Field("api_key", text(), required=True),))
REFRESH = Fields((Field("refresh", text(), required=True),))


class Tokens(Shown):
    """The tokens that an API key is exchanged for."""

    access: str
    refresh: str


class AccessToken(Shown):
    """A new access token."""

    access: str


def obtain(request: Request) -> HttpResponse:
    """Obtain an access and a refresh token by an API key."""
    given = KEY.read(bodies.read_leniently(request.http, KEY))
    given.check()
    try:
        pair = tokens.obtain(given["api_key"], request.source_address)
    except tokens.KeyRefused:
        raise Unauthenticated("authentication_failed", "Incorrect API key.") from None
    except TooMany as error:
        raise Throttled(error.retry_after_seconds) from None
    return _kept_nowhere(Tokens(pair.access, pair.refresh))


def refresh(request: Request) -> HttpResponse:
    """Make a new access token by a refresh token."""
    given = REFRESH.read(bodies.read_leniently(request.http, REFRESH))
    given.check()
    try:
        access = tokens.refresh(given["refresh"], request.source_address)
    except tokens.TokenRefused:
        raise authentication.not_valid() from None
    except TooMany as error:
        raise Throttled(error.retry_after_seconds) from None
    return _kept_nowhere(AccessToken(access))


def _kept_nowhere(issued: Struct) -> HttpResponse:
    """Tokens, which nobody on the way may keep a copy of."""
    response = answers.value(issued)
    response["Cache-Control"] = "no-store"
    return response


OPERATIONS = (
    Operation("POST", "/token/obtain/api_key/", obtain, None, body=KEY, answer=Tokens),
    Operation("POST", "/token/refresh/", refresh, None, body=REFRESH, answer=AccessToken),
)
