"""Answers that are one object or nothing, and what clients may know of an object beforehand."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils.http import parse_etags

from cpm.api import rows as read
from cpm.api import statements
from cpm.api.negotiation import JSON
from cpm.api.request import Request
from cpm.api.shapes import Shape, encode
from cpm.api.statements import Rows
from cpm.queries.errors import NotFound
from cpm.services.errors import Changed


def one(
    request: Request, rows: Rows, row_id: int, shape: Shape[Any], *, status: int = 200
) -> HttpResponse:
    """One object as it is now. Raises `NotFound`."""
    body = _shown(request, rows, row_id, shape)
    if body is None:
        raise NotFound
    return tagged(request, body, status=status)


def value(built: object, *, status: int = 200) -> HttpResponse:
    """An answer that is no row."""
    return HttpResponse(encode(built), status=status, content_type=JSON)


def nothing() -> HttpResponse:
    """Done, and nothing to say."""
    return HttpResponse(status=204)


def tagged(request: Request, body: bytes, *, status: int = 200) -> HttpResponse:
    """An answer with an ETag; without its body where a reader says that he has it."""
    tag = _tag(body)
    known = parse_etags(request.http.headers.get("If-None-Match", ""))
    is_read = request.http.method in {"GET", "HEAD"}
    if is_read and ("*" in known or tag in {one.removeprefix("W/") for one in known}):
        return HttpResponse(status=304, headers={"ETag": tag})
    return HttpResponse(body, status=status, content_type=JSON, headers={"ETag": tag})


@contextmanager
def unchanged(request: Request, rows: Rows, row_id: int, shape: Shape[Any]) -> Iterator[None]:
    """Let what is inside happen only to the object that `If-Match` names, if it names one.

    What is inside may refuse for reasons of its own first; then that is what the client is told.
    Raises `Changed` after it, and nothing has happened: it may have no effect outside the database.
    """
    named = parse_etags(request.http.headers.get("If-Match", ""))
    if not named:
        yield
        return
    with transaction.atomic():
        # Whoever else is told the same tag waits here, and then sees another one.
        QuerySet(rows.query().model).select_for_update().filter(pk=row_id).first()
        body = _shown(request, rows, row_id, shape)
        yield
        if body is None or not ("*" in named or _tag(body) in named):
            raise Changed


def must_match(request: Request, rows: Rows, row_id: int, shape: Shape[Any]) -> None:
    """Raise `Changed` unless the object is what `If-Match` names, if it names one.

    For what cannot be taken back: somebody else may still be faster.
    """
    named = parse_etags(request.http.headers.get("If-Match", ""))
    if named:
        body = _shown(request, rows, row_id, shape)
        if body is None or not ("*" in named or _tag(body) in named):
            raise Changed


def _shown(request: Request, rows: Rows, row_id: int, shape: Shape[Any]) -> bytes | None:
    build = shape.builder(request.version)
    for row in read.few(statements.named(rows, shape.columns).naming([row_id])):
        return encode(build(row))
    return None


def _tag(body: bytes) -> str:
    return f'"{blake2b(body, digest_size=16).hexdigest()}"'
