"""One format for everything that goes wrong, and what each exception means on the wire."""

import logging
from collections.abc import Iterable, Mapping

import msgspec
from django.core.exceptions import SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse

from cpm.api.negotiation import JSON
from cpm.api.refusals import Refusal, Unavailable
from cpm.kernel.faults import Fault
from cpm.kernel.invalid import Invalid, Problem
from cpm.queries.errors import NotFound
from cpm.services.errors import Changed, Conflict, Forbidden, Refused, Unlicensed

log = logging.getLogger(__name__)

# What is not about one field is told under this name.
WHOLE = "non_field_errors"

_STATUS: Mapping[type[Refused], int] = {
    Forbidden: 403,
    Unlicensed: 403,
    Conflict: 409,
    Changed: 412,
}


def answer(error: Exception, request_id: str) -> HttpResponse:
    """What the client is told about an exception; one that nobody expects is logged whole."""
    match error:
        case Refusal():
            return _answer(error.status, [error.problem], error.headers)
        case Invalid():
            return _answer(400, error.problems)
        case Refused():
            return _one(_STATUS[type(error)], error.code, error.message)
        case NotFound():
            return _one(404, "not_found", error.message)
        case _:
            return _answer_fault(error, request_id)


def _answer_fault(error: Exception, request_id: str) -> HttpResponse:
    """What is told about failures that no client has asked for."""
    match error:
        case Fault():
            return _one(400, "aws_error", str(error))
        case SuspiciousOperation():
            return _one(400, "invalid", str(error))
        case OperationalError() | InterfaceError():
            log.error("the database does not answer: %s", error)
            return answer(Unavailable(), request_id)
        case _:
            log.error("a request failed unexpectedly", exc_info=error)
            return _one(500, "error", f"A server error occurred. Request id: {request_id}")


def _one(status: int, code: str, message: str) -> HttpResponse:
    return _answer(status, [Problem(code, message)])


def _answer(
    status: int, problems: Iterable[Problem], headers: Mapping[str, str] | None = None
) -> HttpResponse:
    fields: dict[str, list[dict[str, str]]] = {}
    for problem in problems:
        told = {"message": problem.message, "code": problem.code}
        fields.setdefault(problem.field or WHOLE, []).append(told)
    body = msgspec.json.encode({"errors": [fields]})
    return HttpResponse(body, status=status, content_type=JSON, headers=dict(headers or {}))
