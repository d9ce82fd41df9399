"""The `Idempotency-Key` header: a POST that carries one has its effect once, however often it is
sent, after `draft-ietf-httpapi-idempotency-key-header`.
"""

import re
from collections.abc import Callable
from hashlib import blake2b

import msgspec
from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase

from cpm.api import bodies
from cpm.api.refusals import KeyReused, RequestUnderWay
from cpm.api.request import Request
from cpm.kernel.invalid import Invalid, Problem
from cpm.services import idempotency
from cpm.services.idempotency import LONGEST_KEY, Answer

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

# The draft writes it in quotes, many clients without.
PATTERN = f'^"?([!#-~]{{1,{LONGEST_KEY}}})"?$'
_KEY = re.compile(PATTERN)


def once(request: Request, view: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """What the view answers, or answered when it was asked the same under this key.

    Raises `Invalid` for what is no key, `RequestUnderWay` and `KeyReused`.
    """
    found = _KEY.fullmatch(request.http.headers[HEADER])
    if found is None:
        message = f"{HEADER} must be 1 to {LONGEST_KEY} visible ASCII characters."
        raise Invalid(Problem("invalid", message))
    try:
        answer = idempotency.once(
            request.person, found[1], _fingerprint(request), lambda: _told(view())
        )
    except idempotency.UnderWay:
        raise RequestUnderWay from None
    except idempotency.KeyOfAnother:
        raise KeyReused from None
    return _response(answer)


def _fingerprint(request: Request) -> str:
    """What tells the request from others; it gives nothing away of what is in the body."""
    http = request.http
    said = (request.path, http.META.get("QUERY_STRING", ""), request.version, http.content_type)
    key = settings.FINGERPRINT_KEY
    digest = blake2b(msgspec.json.encode(said), digest_size=32, key=key)
    digest.update(bodies.keep(http))
    return digest.hexdigest()


def _told(response: HttpResponseBase) -> Answer:
    if not isinstance(response, HttpResponse):
        raise TypeError("the answer to a POST is whole")
    return Answer(response.status_code, dict(response.headers), response.content.decode())


def _response(answer: Answer) -> HttpResponse:
    response = HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))
    if answer.is_kept:
        response[REPLAYED] = "true"
    return response
