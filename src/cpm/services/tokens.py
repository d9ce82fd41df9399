"""API keys, and the tokens that they are exchanged for.

A token names the row of the key that it comes from. Making a new key, revoking one, or disabling
or deleting its owner takes the row away, and with it every token, on all machines, as soon as
`_KNOWN_SECONDS` have passed.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import jwt
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from jwt.types import Options

from cpm.kernel import clock, times
from cpm.models.users import ApiKey, User
from cpm.queries import people
from cpm.queries.people import Person
from cpm.services import audit
from cpm.services.attempts import Limit

ACCESS = "access"
REFRESH = "refresh"

_ALGORITHM = "HS256"
_KNOWN_SECONDS = 3.0
_MOST_KNOWN = 10_000

# The product's clock decides what has expired, not the machine's.
_CHECKS: Options = {
    "require": ["exp", "iat", "jti", "token_type", "sub"],
    "verify_exp": False,
    "verify_iat": False,
}

BAD_TOKENS = Limit(
    "token", settings.ENVIRONMENT.bad_tokens, settings.ENVIRONMENT.bad_tokens_seconds
)


class KeyRefused(Exception):
    """Not the key of anybody who may log in."""


class TokenRefused(Exception):
    """Not a live token of the type that is needed."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What a key is exchanged for."""

    access: str
    refresh: str


def create_key(user: User, *, actor: Person | None) -> str:
    """Give a person a new API key and end the old one; only now can it be read."""
    key = secrets.token_urlsafe(32)
    with transaction.atomic():
        # Of two who make one at the same time, the later one's counts.
        User.objects.select_for_update().get(pk=user.pk)
        ApiKey.objects.filter(user=user).delete()
        ApiKey.objects.create(user=user, digest=_digest(key), created_at=clock.now())
        audit.record(actor, "create API key", user.username)
    return key


def describe_key(user: User) -> dict[str, object]:
    """Whose key it is and when it was made; `created_at` is None where there is none."""
    key = ApiKey.objects.filter(user=user).first()
    created_at = times.to_wire(key.created_at) if key else None
    return {"username": user.username, "created_at": created_at}


def revoke_key(user: User, *, actor: Person | None) -> bool:
    """End a person's API key and its tokens; False where there was none."""
    with transaction.atomic():
        deleted, _ = ApiKey.objects.filter(user=user).delete()
        if deleted:
            audit.record(actor, "revoke API key", user.username)
    return bool(deleted)


def obtain(key: str, source_address: str) -> Pair:
    """Exchange an API key for tokens.

    Raises `KeyRefused`, and `TooMany` where there were too many bad attempts from the address.
    """
    row = _live_keys().filter(digest=_digest(key)).first()
    if row is None:
        _refuse("API key refused", source_address)
        raise KeyRefused
    audit.record(people.of(row.user, source_address), "obtain token")
    hours = timedelta(hours=settings.ENVIRONMENT.refresh_token_hours)
    return Pair(_access_token(row.pk, row.user_id), _token(REFRESH, row.pk, row.user_id, hours))


def refresh(token: str, source_address: str) -> str:
    """A new access token for a live refresh token; raises `TokenRefused` and `TooMany`."""
    try:
        key = _live_key(*_read(token, REFRESH))
    except TokenRefused:
        _refuse("refresh token refused", source_address)
        raise
    return _access_token(key.pk, key.user_id)


def owner_of(access_token: str, source_address: str) -> Person:
    """Who an access token speaks for, as of at most `_KNOWN_SECONDS` ago.

    Raises `TokenRefused`.
    """
    key_id, user_id = _read(access_token, ACCESS)
    return replace(_known.person(key_id, user_id), source_address=source_address)


class _KnownPeople:
    """Who was behind a key a moment ago, so that not every request has to ask."""

    def __init__(self) -> None:
        self._people: dict[tuple[int, int], tuple[float, Person]] = {}

    def person(self, key_id: int, user_id: int) -> Person:
        now = clock.monotonic()
        seen_at, person = self._people.get((key_id, user_id), (float("-inf"), None))
        if person is not None and now - seen_at < _KNOWN_SECONDS:
            return person
        if len(self._people) >= _MOST_KNOWN:
            self._people.clear()
        person = people.of(_live_key(key_id, user_id).user)
        self._people[key_id, user_id] = (now, person)
        return person


_known = _KnownPeople()


def _live_keys() -> QuerySet[ApiKey]:
    """The keys of people who may log in, together with those people."""
    may_act = Q(user__original_user=None) | Q(user__original_user__is_active=True)
    rows = ApiKey.objects.select_related("user__original_user")
    return rows.filter(may_act, user__is_active=True)


def _live_key(key_id: int, user_id: int) -> ApiKey:
    key = _live_keys().filter(pk=key_id, user_id=user_id).first()
    if key is None:
        raise TokenRefused
    return key


def _refuse(event_type: str, source_address: str) -> None:
    BAD_TOKENS.count_bad(source_address)
    audit.record_failure(event_type, source_address=source_address)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _access_token(key_id: int, user_id: int) -> str:
    minutes = timedelta(minutes=settings.ENVIRONMENT.access_token_minutes)
    return _token(ACCESS, key_id, user_id, minutes)


def _token(token_type: str, key_id: int, user_id: int, lifetime: timedelta) -> str:
    now = clock.now()
    claims = {
        "exp": int((now + lifetime).timestamp()),
        "iat": int(now.timestamp()),
        "jti": f"{key_id}.{secrets.token_hex(16)}",
        "token_type": token_type,
        "sub": str(user_id),
    }
    return jwt.encode(claims, settings.TOKEN_KEY, _ALGORITHM)


def _read(token: str, token_type: str) -> tuple[int, int]:
    """The key and the user that a token names; raises `TokenRefused`."""
    try:
        claims: Mapping[str, Any] = jwt.decode(
            token, settings.TOKEN_KEY, algorithms=[_ALGORITHM], options=_CHECKS
        )
        key_id, user_id = int(claims["jti"].partition(".")[0]), int(claims["sub"])
        lives = claims["exp"] > clock.now().timestamp()
    except (jwt.InvalidTokenError, ValueError, UnicodeError) as error:
        raise TokenRefused from error
    if not lives or claims["token_type"] != token_type:
        raise TokenRefused
    return key_id, user_id
