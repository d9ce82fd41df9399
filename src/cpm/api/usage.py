"""The reports of what users have as of now, with their names and without (guide 3.21)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from django.http.response import HttpResponseBase
from msgspec import Struct, defstruct
from msgspec.structs import fields

from cpm.api import reports
from cpm.api.lists import Listing, number
from cpm.api.reports import Report
from cpm.api.request import Request
from cpm.api.shapes import Shape, Shown
from cpm.kernel import clock
from cpm.models.users import UserKind
from cpm.queries import usage, users
from cpm.queries.usage import Totals


class Usage(Shown):
    """What one user has."""

    timestamp: datetime
    user_id: int
    user_name: str
    user_type: UserKind
    accounts: int
    policies: int
    protected_instances: int
    independent_ebs_gib: int
    rds_gib: int
    redshift_gib: int
    dynamodb_gib: int
    snapshots: int


AnonymousUsage = defstruct(
    "AnonymousUsage",
    [(each.name, each.type) for each in fields(Usage) if each.name not in {"user_id", "user_name"}],
    bases=(Shown,),
    namespace={"__doc__": "What one user has; whose it is is not told."},
    module=__name__,
)

_COLUMNS = ("id", "username", "kind")
_COUNTS = (
    *("Accounts", "Policies", "Protected Instances", "Independent EBS (GiB)"),
    *("RDS (GiB)", "Redshift (GiB)", "DynamoDB (GiB)", "Snapshots"),
)
_WORDS = {"user_type": dict(UserKind.choices)}


def _usage(at: datetime, totals: Sequence[Totals], *row: Any) -> Usage:
    return Usage(at, *row, *(total.get(row[0], 0) for total in totals))


def _anonymous(at: datetime, totals: Sequence[Totals], *row: Any) -> Struct:
    user_id, _, kind = row
    return AnonymousUsage(at, kind, *(total.get(user_id, 0) for total in totals))


USAGE = Report(
    "usage",
    "Report what users have as of now.",
    users.visible_to,
    Listing(Shape(Usage, _COLUMNS, _usage), {"user": number("pk")}),
    ("Timestamp", "User ID", "User Name", "User Type", *_COUNTS),
    words=_WORDS,
)
ANONYMOUS = Report(
    "usage_anonymized",
    "Report what users have as of now, without saying who they are.",
    users.visible_to,
    Listing(Shape(AnonymousUsage, _COLUMNS, _anonymous)),
    ("Timestamp", "User Type", *_COUNTS),
    words=_WORDS,
)


def show(request: Request, *, report: Report) -> HttpResponseBase:
    """A line for each user that whoever asks sees."""
    shape = report.listing.shape
    now = clock.now().replace(microsecond=0)
    built = replace(shape, build=partial(shape.build, now, usage.totals()))
    return reports.answer(request, replace(report, listing=replace(report.listing, shape=built)))


OPERATIONS = (
    reports.operation("/reports/usage/", show, USAGE),
    reports.operation("/reports/usage/anonymized/", show, ANONYMOUS),
)
