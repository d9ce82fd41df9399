"""Requests that are done once, however often they are sent: by a key that the client makes up.

The effect and the answer commit together. Whoever is killed in between has done nothing, and
whoever asks again is told what he would have been told.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
from django.conf import settings
from django.db import connection, transaction

from cpm.kernel import clock
from cpm.models.idempotency import KeptAnswer
from cpm.queries.people import Person

KEEP = timedelta(hours=24)
LONGEST_KEY = 255


class UnderWay(Exception):
    """A request with this key is being done."""


class KeyOfAnother(Exception):
    """The key has been used for another request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client is told; `is_kept` where he, or somebody with his key, was told it before."""

    status: int
    headers: Mapping[str, str]
    body: str
    is_kept: bool = field(default=False, compare=False)


class _Sealed(msgspec.Struct):
    headers: dict[str, str]
    body: str


@transaction.atomic
def once(actor: Person, key: str, fingerprint: str, do: Callable[[], Answer]) -> Answer:
    """What `do` answers, or answered when it was done under this key.

    It takes part in this transaction. When it raises, nothing has happened and nothing is kept:
    the next request with the key is as good as the first. Raises `UnderWay` and `KeyOfAnother`.
    """
    _claim(actor, key)
    rows = KeptAnswer.objects.filter(user_id=actor.user_id, key=key)
    kept = rows.filter(expires_at__gt=clock.now()).first()
    if kept is not None:
        return _again(kept, fingerprint)
    answer = do()
    rows.delete()
    KeptAnswer.objects.create(
        user_id=actor.user_id,
        key=key,
        fingerprint=fingerprint,
        status=answer.status,
        sealed_answer=_seal(answer),
        expires_at=clock.now() + KEEP,
    )
    return answer


def _claim(actor: Person, key: str) -> None:
    """Keep others with the key out until the transaction ends."""
    name = f"idempotency:{actor.user_id}:{key}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [name])
        (is_ours,) = cursor.fetchone()
    if not is_ours:
        raise UnderWay


def _seal(answer: Answer) -> bytes:
    text = msgspec.json.encode(_Sealed(dict(answer.headers), answer.body)).decode()
    return settings.SEALER.seal(text)


def _again(kept: KeptAnswer, fingerprint: str) -> Answer:
    if kept.fingerprint != fingerprint:
        raise KeyOfAnother
    sealed = msgspec.json.decode(settings.SEALER.open(bytes(kept.sealed_answer)), type=_Sealed)
    return Answer(kept.status, sealed.headers, sealed.body, is_kept=True)
