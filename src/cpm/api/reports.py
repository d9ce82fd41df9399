"""Reports: what has happened and what is protected, as lists and as CSV (guide 3.21).

What is called by name in a report may be gone: names are those of the time.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from msgspec import UNSET, Struct, UnsetType

from cpm.api import csv_files, pages
from cpm.api.bound import bound
from cpm.api.lists import Filter, Listing, by_number, from_time, number, to_time
from cpm.api.negotiation import CSV, JSON
from cpm.api.operations import Operation, View
from cpm.api.request import Request
from cpm.api.shapes import SINCE_1_2, Shape, Shown
from cpm.api.versions import Version
from cpm.kernel import clock
from cpm.models.backups import BackupOutcome, CopyStatus
from cpm.models.snapshots import SnapshotStatus
from cpm.queries import reports as queries
from cpm.queries.outcomes import status, words
from cpm.queries.people import Person
from cpm.resources import registry
from cpm.services.access import Action


class BackupLine(Shown):
    """One run of a policy."""

    user: str | UnsetType
    backup_id: int
    account: str
    aws_account_number: str | None
    policy: str
    status: str
    dr_status: CopyStatus
    s3_copy_status: CopyStatus
    start_time: datetime
    finish_time: datetime | None
    is_retry: bool
    frozen: bool
    deleted: bool


class SnapshotLine(Shown):
    """One protected copy of one resource."""

    user: str | UnsetType
    backup_id: int
    account: str
    aws_account_number: str | None
    policy: str
    status: SnapshotStatus
    region: str
    type: str
    volume_db_cluster: str
    volume_db_cluster_name: str | None
    instance: str | None
    instance_name: str | None
    snapshot_id: str | None
    succeeded: bool
    start_at: datetime | None
    finish_at: datetime | None
    deleted_at: datetime | None


class AuditLine(Shown):
    """One change, log-in or failed attempt."""

    time: datetime
    user: str
    delegate: str
    event_type: str
    object: str
    description: str
    source_address: str


class ProtectedResource(Shown):
    """One resource that policies protect."""

    user: str | UnsetType
    resource_id: str
    resource_name: str | None
    type: str
    region: str
    account: str
    policies: list[str]
    schedules: list[str]
    last_successful_backup: datetime | None
    seen_at: Annotated[datetime | UnsetType, SINCE_1_2] = UNSET


Words = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, eq=False)
class Report:
    """One report: what it is `about`, its rows, how they are shown, and the CSV file's header.

    `names_users` are those of which root sees whose each line is; it is then the first column.
    `words` are what letters mean, by key; `arguments` narrow the rows to what a version knows.
    """

    name: str
    about: str
    rows: Callable[..., QuerySet[Any]]
    listing: Listing[Any]
    header: Sequence[str]
    names_users: bool = False
    words: Words = field(default_factory=dict)
    arguments: Callable[[Version], tuple[Hashable, ...]] = lambda _: ()

    def of(self, viewer: Person) -> "Report":
        """The report as somebody sees it."""
        if not self.names_users or viewer.acts_for_root:
            return self
        shape = self.listing.shape
        nameless = replace(shape, build=partial(_without_user, shape.build))
        return replace(self, listing=replace(self.listing, shape=nameless), header=self.header[1:])

    @property
    def filename(self) -> str:
        """What the CSV file of this moment is called."""
        return f"cpm_{self.name}_report_{clock.now():%Y%m%d_%H%M%S}.csv"

    def cells(self, line: Struct) -> list[object]:
        """A line as a CSV file shows it: with words for letters."""
        values = ((key, getattr(line, key)) for key in line.__struct_fields__)
        return [
            self.words.get(key, {}).get(value, value) if key in self.words else value
            for key, value in values
            if value is not UNSET
        ]


def _without_user(build: Callable[..., Any], *row: Any) -> Any:
    line = build(*row)
    line.user = UNSET
    return line


def _time_filters(column: str) -> dict[str, Filter]:
    return {"from_time": from_time(column), "to_time": to_time(column)}


def _owner_filters(path: str = "") -> dict[str, Filter]:
    return {name: number(f"{path}{name}") for name in ("user", "account", "policy")}


def _backup(*row: Any) -> BackupLine:
    outcome, attempt, is_frozen = row[5], *row[-2:]
    state = (attempt > 0, is_frozen, outcome == BackupOutcome.DELETED)
    values = (*row[:5], status(outcome), *row[6:-2], *state)
    return BackupLine(*values)


_COPY_WORDS = dict(CopyStatus.choices)

BACKUPS = Report(
    "backups",
    "Report the runs of policies, oldest first.",
    queries.backups,
    Listing(
        Shape(
            BackupLine,
            (
                *("user__username", "id", "account_name", "account__aws_account_number"),
                *("policy_name", "outcome", "dr_status", "s3_status"),
                *("started_at", "finished_at", "attempt", "is_frozen"),
            ),
            _backup,
        ),
        _time_filters("started_at") | _owner_filters(),
    ),
    (
        *("User", "Backup ID", "Account", "AWS Account Number", "Policy", "Status"),
        *("DR Status", "S3 Copy Status", "Start Time", "Finish Time", "Is Retry"),
        *("Frozen", "Deleted"),
    ),
    names_users=True,
    words={
        "status": words(BackupOutcome),
        "dr_status": _COPY_WORDS,
        "s3_copy_status": _COPY_WORDS,
    },
)


def _snapshot(*row: Any) -> SnapshotLine:
    *what, aws_ref, error, started_at, finished_at, deleted_at = row
    state = what[5]
    # Of one that is gone the row no longer says how it ended.
    has_succeeded = state == SnapshotStatus.SUCCEEDED or (
        state == SnapshotStatus.DELETED and finished_at is not None and not error
    )
    times = (started_at, finished_at, deleted_at)
    values = (*what, aws_ref or None, has_succeeded, *times)
    return SnapshotLine(*values)


def _newcomers(version: Version) -> tuple[Hashable, ...]:
    """The collections of which a version knows nothing yet."""
    collections = (each for driver in registry.drivers() for each in driver.snapshot_collections)
    return (tuple(each.name for each in collections if Version(each.reported_since) > version),)


SNAPSHOTS = Report(
    "snapshots",
    "Report the snapshots of all runs, oldest first.",
    queries.snapshots,
    Listing(
        Shape(
            SnapshotLine,
            (
                *("backup__user__username", "backup", "account_name"),
                *("account__aws_account_number", "backup__policy_name", "status", "region"),
                *("collection", "resource_id", "resource_name"),
                *("instance_id", "instance_name", "aws_ref", "error"),
                *("started_at", "finished_at", "deleted_at"),
            ),
            _snapshot,
        ),
        _time_filters("started_at")
        | {
            "user": number("backup__user"),
            "account": number("account"),
            "policy": number("backup__policy"),
        },
    ),
    (
        *("User", "Backup ID", "Account", "AWS Account Number", "Policy", "Status", "Region"),
        *("Type", "Volume/DB/Cluster", "Volume/DB/Cluster Name", "Instance", "Instance Name"),
        *("Snapshot ID", "Succeeded", "Start At", "Finish At", "Deleted At"),
    ),
    names_users=True,
    words={"status": dict(SnapshotStatus.choices)},
    arguments=_newcomers,
)

AUDIT = Report(
    "audit",
    "Report who changed what, when, and from where, oldest first.",
    queries.audit,
    Listing(
        Shape(
            AuditLine,
            (
                *("at", "user_name", "delegate_name", "event_type"),
                *("object", "description", "source_address"),
            ),
            AuditLine,
        ),
        _time_filters("at") | {"user": number("user")},
    ),
    ("Time", "User", "Delegate", "Event Type", "Object", "Description", "Source Address"),
)


def _protected(
    user: str, resource_id: str, name: str | None, kind: str, *rest: Any
) -> ProtectedResource:
    return ProtectedResource(user, resource_id, name, registry.driver(kind).label, *rest)


PROTECTED_RESOURCES = Report(
    "protected_resources",
    "Report the resources that policies protect.",
    queries.protected_resources,
    Listing(
        Shape(
            ProtectedResource,
            (
                *("policy__user__username", "resource_id", "name", "kind", "region"),
                *("policy__account__name", "policies", "schedules", "last_success_at"),
            ),
            _protected,
        ),
        {
            "user": number("policy__user"),
            "account": number("policy__account"),
            "policy": by_number(queries.is_protected_by),
        },
    ),
    (
        *("User", "Resource ID", "Resource Name", "Type", "Region", "Account"),
        *("Policies", "Schedules", "Last Successful Backup"),
    ),
    names_users=True,
)


def show(request: Request, *, report: Report) -> HttpResponseBase:
    """The lines of a report, oldest first; as CSV all of them."""
    return answer(request, report)


def answer(request: Request, report: Report) -> HttpResponseBase:
    """The lines that the request asks for, as whoever asks sees them."""
    seen = report.of(request.person)
    rows = request.rows(seen.rows, *seen.arguments(request.version))
    if not request.wants_csv:
        return pages.answer(request, rows, seen.listing)
    lines = map(seen.cells, pages.every(request, rows, seen.listing))
    return csv_files.answer(seen.filename, seen.header, lines)


def operation(path: str, view: View, report: Report) -> Operation:
    """The declaration of a report."""
    shown = bound(view, report=report)
    shown.__doc__ = report.about
    listing, forms = report.listing, (JSON, CSV)
    return Operation("GET", path, shown, Action.READ, listing=listing, produces=forms)


OPERATIONS = (
    operation("/reports/backups/", show, BACKUPS),
    operation("/reports/snapshots/", show, SNAPSHOTS),
    operation("/reports/audit/", show, AUDIT),
)
