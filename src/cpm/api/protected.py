"""The report of what policies protect, and with `unprotected=true` of what none does."""

from dataclasses import replace
from typing import Any

from django.http.response import HttpResponseBase

from cpm.api import reports
from cpm.api.flags import flag
from cpm.api.lists import Listing, number
from cpm.api.reports import PROTECTED_RESOURCES, ProtectedResource, Report
from cpm.api.request import Request
from cpm.api.shapes import Shape
from cpm.api.versions import Version
from cpm.queries import reports as queries
from cpm.resources import registry
from cpm.services import discoveries

_UNPROTECTED = {
    "unprotected": {
        "type": "boolean",
        "default": False,
        "description": "Report what was last seen in AWS and no policy protects.",
    }
}


def _unprotected(
    user: str, resource_id: str, name: str | None, kind: str, *rest: Any
) -> ProtectedResource:
    region, account, seen_at = rest
    what = (user, resource_id, name, registry.driver(kind).label, region, account)
    return ProtectedResource(*what, [], [], None, seen_at)


UNPROTECTED_RESOURCES = Report(
    "protected_resources",
    "Report the resources that no policy protects, as last seen.",
    queries.unprotected_resources,
    Listing(
        Shape(
            ProtectedResource,
            (
                *("account__user__username", "resource_id", "name", "kind", "region"),
                *("account__name", "seen_at"),
            ),
            _unprotected,
        ),
        {"user": number("account__user"), "account": number("account")},
    ),
    (*PROTECTED_RESOURCES.header, "Seen At"),
    names_users=True,
)


def show(request: Request, *, report: Report) -> HttpResponseBase:
    """The resources that policies protect, or those that none does."""
    if not flag(request, "unprotected", default=False):
        return reports.answer(request, report)
    discoveries.ask_where_nobody_has_looked(request.person)
    is_dated = request.version >= Version.V1_2
    header = UNPROTECTED_RESOURCES.header if is_dated else PROTECTED_RESOURCES.header
    return reports.answer(request, replace(UNPROTECTED_RESOURCES, header=header))


OPERATIONS = (
    replace(
        reports.operation("/reports/protected-resources/", show, PROTECTED_RESOURCES),
        parameters=_UNPROTECTED,
    ),
)
