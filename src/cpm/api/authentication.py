"""Who sends a request: read from its access token, and from nothing else."""

from django.http import HttpRequest

from cpm.api.refusals import Unauthenticated
from cpm.queries.people import Person
from cpm.services import tokens


def person(request: HttpRequest) -> Person:
    """The owner of the request's access token; raises `Unauthenticated`."""
    header = request.headers.get("Authorization", "")
    if not header.strip():
        raise Unauthenticated("not_authenticated", "Authentication credentials were not provided.")
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise not_valid()
    try:
        return tokens.owner_of(token.strip(), str(request.META.get("REMOTE_ADDR", "")))
    except tokens.TokenRefused:
        raise not_valid() from None


def not_valid() -> Unauthenticated:
    """The refusal of a token that is none, no longer, or of the other type."""
    return Unauthenticated("token_not_valid", "Token is invalid or expired.")
