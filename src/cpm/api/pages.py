"""How a list is answered: whole, by the page, or, when it is long, as it comes."""

import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Self

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from msgspec import Struct

from cpm.api import answers, counts
from cpm.api import rows as read
from cpm.api.lists import Listing
from cpm.api.negotiation import JSON
from cpm.api.refusals import Unavailable
from cpm.api.request import Request
from cpm.api.shapes import Shape, encode
from cpm.api.versions import Version
from cpm.queries.errors import NotFound

DEFAULT_SIZE = 20
MOST_SIZE = 1000

# A list of up to this many chunks is answered from memory, with its length.
_MOST_CHUNKS = 20

# A reader may be slow, and holds a thread and a database connection while he reads.
_streams = threading.BoundedSemaphore(max(1, settings.ENVIRONMENT.web_threads // 2))


def answer(request: Request, rows: QuerySet[Any], listing: Listing[Any]) -> HttpResponseBase:
    """The rows that the request asks for. Raises `Invalid`, `NotFound` and `Unavailable`."""
    parameters = request.http.GET
    selected = listing.select(rows, parameters)
    page = Page.asked_for(parameters)
    if page is None:
        return _whole(request, selected, listing.shape)
    return answers.tagged(request, page.show(request, selected, listing.shape))


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, counted from 1."""

    number: int
    size: int

    @classmethod
    def asked_for(cls, parameters: QueryDict) -> Self | None:
        """The page that a client wants; None where he wants no pages. Raises `NotFound`."""
        number, size = parameters.get("page", ""), parameters.get("page_size", "")
        known_size = int(size[:9]) if size.isascii() and size.isdigit() else None
        if known_size == 0 or (known_size is None and not number):
            return None
        if number and not (number.isascii() and number.isdigit() and int(number[:18]) > 0):
            raise NotFound("Invalid page.")
        return cls(int(number[:18] or 1), min(known_size or DEFAULT_SIZE, MOST_SIZE))

    def show(self, request: Request, rows: QuerySet[Any], shape: Shape[Any]) -> bytes:
        """The page with its count and its neighbours; raises `NotFound` past the end."""
        first = (self.number - 1) * self.size
        if first > 2**62:
            raise NotFound("Invalid page.")
        built = _built(rows[first : first + self.size], shape, request.version)
        results = list(chain.from_iterable(built))
        if not results and self.number > 1:
            raise NotFound("Invalid page.")
        ends_here = len(results) < self.size
        count = first + len(results)
        if not ends_here:
            count = max(count, counts.of(rows))
        has_next = first + len(results) < count
        return encode(
            {
                "count": count,
                "next": _address(request, self.number + 1) if has_next else None,
                "previous": _address(request, self.number - 1) if self.number > 1 else None,
                "results": results,
            }
        )


class _Stream:
    """A long list as a body. Closing it, at any point, lets go of the query and makes room."""

    def __init__(self, head: list[bytes], rest: Generator[bytes, None, None]) -> None:
        self._parts = chain((b"[", b",".join(head)), (b"," + part for part in rest), (b"]",))
        self._rest = rest
        self._is_open = True

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return next(self._parts)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._rest.close()
            _streams.release()


def _whole(request: Request, rows: QuerySet[Any], shape: Shape[Any]) -> HttpResponseBase:
    """All rows as a bare array; beyond what may be held in memory they go out as they come."""
    rest = _encoded(rows, shape, request.version)
    head = list(islice(rest, _MOST_CHUNKS))
    if len(head) < _MOST_CHUNKS:
        return HttpResponse(b"[" + b",".join(head) + b"]", content_type=JSON)
    if not _streams.acquire(blocking=False):
        rest.close()
        raise Unavailable
    return StreamingHttpResponse(_Stream(head, rest), content_type=JSON)


def _encoded(
    rows: QuerySet[Any], shape: Shape[Any], version: Version
) -> Generator[bytes, None, None]:
    """The JSON of the rows by the chunk, without the array's brackets."""
    with closing(_built(rows, shape, version)) as built:
        for chunk in built:
            yield encode(chunk)[1:-1]


def _built(
    rows: QuerySet[Any], shape: Shape[Any], version: Version
) -> Generator[list[Struct], None, None]:
    build = shape.builder(version)
    with closing(read.chunks(rows, shape.columns)) as chunks:
        for chunk in chunks:
            yield [build(row) for row in chunk]


def _address(request: Request, number: int) -> str:
    """The absolute address of another page of the same list."""
    parameters = request.http.GET.copy()
    parameters["page"] = str(number)
    return request.http.build_absolute_uri(f"{request.path}?{parameters.urlencode()}")
