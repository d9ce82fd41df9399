"""How a list is answered: whole, by the page, or, when it is long, as it comes."""

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Self

from django.conf import settings
from django.http import HttpResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from msgspec import Struct

from cpm.api import answers, counts, positions, statements
from cpm.api import rows as read
from cpm.api.lists import Listing
from cpm.api.negotiation import JSON
from cpm.api.refusals import Unavailable
from cpm.api.request import Request
from cpm.api.shapes import Shape, encode
from cpm.api.statements import Rows, Statement
from cpm.api.versions import Version
from cpm.queries.errors import NotFound

DEFAULT_SIZE = 20
MOST_SIZE = 1000

# PostgreSQL works out whole rows also where it then skips them.
_FAR_ROWS = 10_000

# A page that no list has, and whose rows PostgreSQL can still count.
_FAR = 10**12

# A list of up to this many chunks is answered from memory, with its length.
_MOST_CHUNKS = 5

# A reader may be slow, and holds a thread and a database connection while he reads.
_streams = threading.BoundedSemaphore(max(1, settings.ENVIRONMENT.web_threads // 2))


def answer(request: Request, rows: Rows, listing: Listing[Any]) -> HttpResponseBase:
    """The rows that the request asks for. Raises `Invalid`, `NotFound` and `Unavailable`."""
    selected = listing.select(rows, request.http.GET)
    every_one = statements.every(selected, listing.shape.columns)
    page = Page.asked_for(request.http.GET)
    if page is None:
        return _whole(request, every_one, listing.shape)
    statement = _on_page(selected, listing.shape.columns, page.rows)
    results = list(chain.from_iterable(_built(statement, listing.shape, request.version)))
    return page.answer(request, results, lambda: counts.of(selected))


def _on_page(rows: Rows, columns: tuple[str, ...], which: slice) -> Statement:
    """The rows of a page. Far into a list those before it are passed over by their ids alone."""
    if which.start < _FAR_ROWS:
        return statements.every(rows, columns).part(which)
    return statements.named(rows, columns).naming(positions.ids_of(rows, which))


def answer_values(request: Request, values: Sequence[Struct]) -> HttpResponse:
    """A list that is no query, whole or by the page."""
    page = Page.asked_for(request.http.GET)
    if page is None:
        return answers.value(values)
    return page.answer(request, values[page.rows], lambda: len(values))


def every(request: Request, rows: Rows, listing: Listing[Any]) -> Generator[Any, None, None]:
    """All objects that are asked for, one by one, whatever pages are asked for: for files."""
    selected = listing.select(rows, request.http.GET)
    statement = statements.every(selected, listing.shape.columns)
    with closing(_built(statement, listing.shape, request.version)) as built:
        for chunk in built:
            yield from chunk


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, counted from 1."""

    number: int
    size: int

    @classmethod
    def asked_for(cls, parameters: QueryDict) -> Self | None:
        """The page that a client wants; None where he wants no pages. Raises `NotFound`."""
        number, size = parameters.get("page", ""), parameters.get("page_size", "")
        known_size = _counting_number(size)
        if known_size == 0 or (known_size is None and not number):
            return None
        known_number = _counting_number(number or "1")
        if not known_number:
            raise NotFound("Invalid page.")
        return cls(known_number, min(known_size or DEFAULT_SIZE, MOST_SIZE))

    @property
    def rows(self) -> slice:
        """Which rows of the list are on it."""
        first = (self.number - 1) * self.size
        return slice(first, first + self.size)

    def answer(
        self, request: Request, results: Sequence[Struct], count_all: Callable[[], int]
    ) -> HttpResponse:
        """The page with its count and its neighbours; raises `NotFound` past the end."""
        if not results and self.number > 1:
            raise NotFound("Invalid page.")
        count = self.rows.start + len(results)
        # Of a far page a record may have gone since its ids were read: it need not be the last.
        if len(results) == self.size or self.rows.start >= _FAR_ROWS:
            count = max(count, count_all())
        following = self.number + 1 if count > self.rows.stop else None
        previous = self.number - 1 or None
        body = {
            "count": count,
            "next": following and _address(request, following),
            "previous": previous and _address(request, previous),
            "results": results,
        }
        return answers.tagged(request, encode(body))


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


def _whole(request: Request, statement: Statement, shape: Shape[Any]) -> HttpResponseBase:
    """All rows as a bare array; beyond what may be held in memory they go out as they come."""
    rest = _encoded(statement, shape, request.version)
    head = list(islice(rest, _MOST_CHUNKS))
    if len(head) < _MOST_CHUNKS:
        return HttpResponse(b"[" + b",".join(head) + b"]", content_type=JSON)
    if not _streams.acquire(blocking=False):
        rest.close()
        raise Unavailable
    return StreamingHttpResponse(_Stream(head, rest), content_type=JSON)


def _encoded(
    statement: Statement, shape: Shape[Any], version: Version
) -> Generator[bytes, None, None]:
    """The JSON of the rows by the chunk, without the array's brackets."""
    with closing(_built(statement, shape, version)) as built:
        for chunk in built:
            yield encode(chunk)[1:-1]


def _built(
    statement: Statement, shape: Shape[Any], version: Version
) -> Generator[list[Struct], None, None]:
    build = shape.builder(version)
    with closing(read.chunks(statement)) as chunks:
        for chunk in chunks:
            yield [build(row) for row in chunk]


def _counting_number(text: str) -> int | None:
    """The number that a text of digits stands for; beyond `_FAR` all are the same."""
    if not (text.isascii() and text.isdigit()):
        return None
    return min(int(text[:20]), _FAR)


def _address(request: Request, number: int) -> str:
    """The absolute address of another page of the same list."""
    parameters = request.http.GET.copy()
    parameters["page"] = str(number)
    return request.http.build_absolute_uri(f"{request.path}?{parameters.urlencode()}")
