"""Regions on the wire: a table that never changes."""

from django.http import HttpResponse

from cpm.api import pages
from cpm.api.lists import Listing, by_text, text
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import Shape, Shown
from cpm.kernel.regions import REGIONS
from cpm.services.access import Action


class Region(Shown):
    """A region of AWS. Its id never changes."""

    id: int
    name: str
    description: str


_ALL = tuple(Region(region.id, region.name, region.description) for region in REGIONS)


# No query answers it, so this only says what can be asked.
LISTING = Listing(
    Shape(Region, Region.__struct_fields__, Region),
    filters={"name": text("name")},
    search=("name", "description"),
    ordering={"name": by_text("name")},
)


def index(request: Request) -> HttpResponse:
    """List the regions of AWS."""
    parameters = request.http.GET
    name, words = parameters.get("name", ""), parameters.get("search", "").casefold().split()
    found = [region for region in _ALL if name in {"", region.name} and _contains(region, words)]
    order = [key.strip() for key in parameters.get("ordering", "").split(",")]
    if key := next((key for key in order if key.removeprefix("-") == "name"), None):
        found.sort(key=lambda region: region.name, reverse=key.startswith("-"))
    return pages.answer_values(request, found)


def _contains(region: Region, words: list[str]) -> bool:
    shown = f"{region.name}\n{region.description}".casefold()
    return all(word in shown for word in words)


OPERATIONS = (Operation("GET", "/regions/", index, Action.READ, listing=LISTING),)
