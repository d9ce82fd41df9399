"""The way of every request under `/api/`, from its path to its answer.

Checks come in one order, here and nowhere else, so that a client is told the same whatever he
asks for: path, form of the answer, version, token, method, kind of user. The view does the rest:
object, body, state.
"""

import logging
import re
import uuid
from functools import partial

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from structlog.contextvars import bound_contextvars

from cpm.api import authentication, bodies, errors, idempotency, negotiation
from cpm.api.negotiation import JSON, Wanted
from cpm.api.operations import Operation, Place
from cpm.api.refusals import MethodNotAllowed
from cpm.api.request import Request
from cpm.api.routes import ROUTER
from cpm.kernel import clock, counters
from cpm.services.access import may_ever
from cpm.services.errors import Forbidden

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def serve(http: HttpRequest, path: str = "") -> HttpResponseBase:
    """Answer a request; `path` is what follows `/api`."""
    sent = http.headers.get("X-Request-ID", "")
    request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
    with bound_contextvars(request_id=request_id):
        began = clock.monotonic()
        place, response = _answer(http, path, request_id)
        bodies.drain(http)
        seconds = clock.monotonic() - began
        status = response.status_code
        log.info("%s %s %d %.1f ms", http.method, http.path, status, seconds * 1000)
    _count(place.find(http.method or "") if place else None, status, seconds)
    response["X-Request-ID"] = request_id
    response["Vary"] = "Accept"
    return _finish(response, http.method or "")


def _answer(http: HttpRequest, path: str, request_id: str) -> tuple[Place | None, HttpResponseBase]:
    place: Place | None = None
    wanted: Wanted | None = None
    response: HttpResponseBase
    try:
        place = ROUTER.find(path)
        wanted = _negotiated(http, place)
        response = _done(http, place, wanted)
    except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
        response = errors.answer(error, request_id)
    if wanted is not None:
        response["API-Version"] = wanted.version.value
    return place, response


def _negotiated(http: HttpRequest, place: Place) -> Wanted:
    operation = place.find(http.method or "")
    produces = operation.produces if operation else (JSON,)
    return negotiation.choose(http.headers.get("Accept"), produces)


def _done(http: HttpRequest, place: Place, wanted: Wanted) -> HttpResponseBase:
    """Check what must be so before the view, and call it."""
    method = http.method or ""
    operation = place.require(method, wanted.version)
    person = None if place.is_public else authentication.person(http)
    if operation is None:
        allowed = ", ".join(place.methods(wanted.version))
        if method == "OPTIONS":
            return HttpResponse(headers={"Allow": allowed})
        raise MethodNotAllowed(method, allowed)
    if person and operation.action and not may_ever(person, operation.action):
        raise Forbidden
    request = Request(http, place.path, wanted, person)
    view = partial(operation.view, request, *place.ids)
    is_keyed = method == "POST" and person and idempotency.HEADER in http.headers
    return idempotency.once(request, view) if is_keyed else view()


def _count(operation: Operation | None, status: int, seconds: float) -> None:
    """Count the request; what is none of our operations counts as one."""
    name = operation.name if operation else "none"
    counters.count("cpm_http_requests_total", operation=name, status=status)
    counters.observe("cpm_http_request_duration_seconds", seconds, operation=name)


def _finish(response: HttpResponseBase, method: str) -> HttpResponseBase:
    """Tell the length, where there is one, and leave out the body that a HEAD does not want."""
    if isinstance(response, HttpResponse):
        if response.status_code not in {204, 304}:
            response["Content-Length"] = str(len(response.content))
        if method == "HEAD":
            response.content = b""
    elif isinstance(response, StreamingHttpResponse) and method == "HEAD":
        response.streaming_content = ()
    return response
