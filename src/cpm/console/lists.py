"""Long lists by the page, without counting what nobody looks at, and pages that keep up."""

from dataclasses import dataclass
from typing import Any, Self

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

PAGE_SIZE = 50
_FAR = 100_000


@dataclass(frozen=True)
class Page:
    """Some of the rows, and the numbers of the pages beside them, if there are any.

    `kept` is what else the request asks for, to be asked for again beside the number of a page.
    """

    rows: list[Any]
    number: int
    has_next: bool
    kept: str = ""

    @classmethod
    def of(cls, request: HttpRequest, rows: QuerySet[Any]) -> Self:
        """The page that the request asks for; the first one where it asks for nonsense."""
        asked = request.GET.get("page", "")
        number = min(int(asked[:9]), _FAR) if asked.isascii() and asked.isdigit() else 1
        first = (max(number, 1) - 1) * PAGE_SIZE
        found = list(rows[first : first + PAGE_SIZE + 1])
        kept = request.GET.copy()
        kept.pop("page", None)
        return cls(found[:PAGE_SIZE], max(number, 1), len(found) > PAGE_SIZE, kept.urlencode())

    @property
    def previous(self) -> int | None:
        """The page before this one."""
        return self.number - 1 if self.number > 1 else None

    @property
    def next(self) -> int | None:
        """The page after this one."""
        return self.number + 1 if self.has_next else None


def live(request: HttpRequest, name: str, given: dict[str, Any]) -> HttpResponse:
    """A page of which a part asks for itself anew every two seconds while the page `is_live`."""
    part = f"console/{name}_part.html"
    is_part = request.headers.get("HX-Request") == "true"
    template = part if is_part else f"console/{name}.html"
    return render(request, template, {**given, "part": part})
