"""Alerts on the wire."""

from datetime import datetime
from typing import Any

from django.db.models import Q
from django.http.response import HttpResponseBase
from msgspec import UNSET, UnsetType

from cpm.api import pages
from cpm.api.lists import Filter, Listing, by_column, by_text, choice, number
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import Shape, Shown
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.queries.alerts import visible_to
from cpm.services.access import Action
from cpm.services.kinds import to_boolean

_ALL = "all"


class Alert(Shown):
    """What somebody should look at, until its cause is gone."""

    id: int
    user: int
    category: AlertCategory
    severity: AlertSeverity
    title: str
    message: str
    alert_time: datetime
    resolved_time: datetime | None
    policy: int | UnsetType = UNSET


def _build(*row: Any) -> Alert:
    *shown, policy = row
    alert = Alert(*shown)
    if policy is not None:
        alert.policy = policy
    return alert


def _resolved(sent: str) -> Q:
    if sent.casefold() == _ALL:
        return Q()
    is_resolved = to_boolean(sent)
    if is_resolved is None:
        raise Invalid(Problem("invalid", "Must be true, false or all."))
    return Q(resolved_at__isnull=not is_resolved)


LISTING = Listing(
    Shape(
        Alert,
        (
            *("id", "owner_id", "category", "severity", "title", "message", "raised_at"),
            *("resolved_at", "policy"),
        ),
        _build,
    ),
    filters={
        "category": choice("category", AlertCategory),
        "severity": choice("severity", AlertSeverity),
        "policy": number("policy"),
        "user": number("owner_id"),
        "resolved": Filter(
            _resolved, {"type": "string", "enum": ["false", "true", _ALL]}, default="false"
        ),
    },
    search=("title", "message"),
    ordering={"alert_time": by_column("raised_at"), "severity": by_text("severity")},
)


def index(request: Request) -> HttpResponseBase:
    """List alerts; those whose cause is gone only when they are asked for."""
    return pages.answer(request, request.rows(visible_to), LISTING)


OPERATIONS = (Operation("GET", "/alerts/", index, Action.READ, listing=LISTING),)
