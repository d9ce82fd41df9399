"""The API's description of itself, for programs and for people. It is no secret."""

from functools import cache

from django.http import HttpResponse

from cpm.api import answers, openapi, reference
from cpm.api.bound import bound
from cpm.api.negotiation import JSON
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import encode
from cpm.api.versions import Version

_HTML = "text/html"
_OPENAPI = "application/vnd.oai.openapi+json"

# Nothing but the page's own style is let in.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


class Description:
    """What the operations declare, made once for each version that is asked for."""

    def __init__(self) -> None:
        self.operations: tuple[Operation, ...] = ()
        self.document = cache(self._document)
        self.page = cache(self._page)

    def _document(self, version: Version) -> bytes:
        return encode(openapi.document(self.operations, version))

    def _page(self, version: Version) -> str:
        return reference.page(openapi.document(self.operations, version))


def show(request: Request, *, description: Description) -> HttpResponse:
    """Describe the API in OpenAPI 3.1."""
    return answers.tagged(request, description.document(request.version))


def read(request: Request, *, description: Description) -> HttpResponse:
    """Describe the API on a page to read."""
    headers = {"Content-Security-Policy": _POLICY}
    return HttpResponse(description.page(request.version), content_type=_HTML, headers=headers)


def operations(described: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """The operations that describe these, and themselves."""
    description = Description()
    document = bound(show, description=description)
    page = bound(read, description=description)
    ours = (
        Operation("GET", "/schema/", document, None, produces=(JSON, _OPENAPI)),
        Operation("GET", "/docs/", page, None, produces=(_HTML,)),
    )
    description.operations = (*described, *ours)
    return ours
