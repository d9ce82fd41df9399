"""Backups on the wire: the records of runs, the freezer, and running a policy now."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from msgspec import UNSET, UnsetType

from cpm.api import answers, deletions, logs, pages
from cpm.api.lists import Listing, boolean, by_column, from_time, number, to_time
from cpm.api.operations import Operation
from cpm.api.outcomes import by_status
from cpm.api.pages import Page
from cpm.api.request import Request
from cpm.api.shapes import SINCE_1_1, SINCE_1_2, Shape, Shown
from cpm.api.versions import Version
from cpm.engine.s3_progress import Progress
from cpm.models.backups import BackupOutcome, CopyStatus, Trigger
from cpm.queries import events, policies, retention
from cpm.queries.backups import frozen, listed, visible_to
from cpm.queries.outcomes import STATUS, status
from cpm.services import backups
from cpm.services import deletions as services
from cpm.services.access import Action
from cpm.services.backups import FIELDS, FREEZE_FIELDS


class DrStatus(Shown):
    """How the copies of a backup in other regions and accounts stand."""

    status: CopyStatus
    finish_time: datetime | None


class S3Progress(Shown):
    """How far copies to S3 are. `seconds_left` is null while nobody can tell."""

    percent: int
    mib_per_second: int
    seconds_left: int | None


class S3CopyStatus(Shown):
    """How the copy of a backup in S3 stands; its progress is null while no data is moved."""

    status: CopyStatus
    finish_time: datetime | None
    repository: int | None
    progress: Annotated[S3Progress | UnsetType | None, SINCE_1_2]


class Retention(Shown):
    """What becomes of a record's snapshots: `expires_after` so many further full successes."""

    kept: bool
    reason: str
    expires_after: int | None


class Backup(Shown):
    """One run of a policy. Only frozen records have a name."""

    id: int
    user: int
    account: int | None
    policy: int | None
    policy_name: str
    name: str | UnsetType | None
    description: str | None
    start_time: datetime
    finish_time: datetime | None
    status: str
    dr_status: DrStatus
    s3_copy_status: Annotated[S3CopyStatus | UnsetType, SINCE_1_1]
    is_frozen: bool
    is_retry: bool
    trigger: Trigger
    scheduled_time: datetime | None
    progress: Annotated[int | UnsetType, SINCE_1_2]
    retention: Annotated[Retention | UnsetType, SINCE_1_2]


_OWN = (
    *("id", "user", "account", "policy", "policy_name", "name", "description"),
    *("started_at", "finished_at", "outcome"),
    *("dr_status", "dr_finished_at", "s3_status", "s3_finished_at"),
    "s3_repository",
    *("is_frozen", "attempt", "trigger", "scheduled_at", "progress", "s3_progress"),
)


def _build(  # noqa: PLR0917 - the columns, in their order
    record: int,
    user: int,
    account: int | None,
    policy: int | None,
    policy_name: str,
    name: str | None,
    description: str | None,
    started_at: datetime,
    finished_at: datetime | None,
    outcome: str,
    dr_status: CopyStatus,
    dr_finished_at: datetime | None,
    s3_status: CopyStatus,
    s3_finished_at: datetime | None,
    s3_repository: int | None,
    is_frozen: bool,
    attempt: int,
    trigger: Trigger,
    scheduled_at: datetime | None,
    progress: int,
    s3_measured: Any,
    *standing: Any,
) -> Backup:
    return Backup(
        record,
        user,
        account,
        policy,
        policy_name,
        name if is_frozen else UNSET,
        description,
        started_at,
        finished_at,
        status(outcome),
        DrStatus(dr_status, dr_finished_at),
        S3CopyStatus(s3_status, s3_finished_at, s3_repository, _s3_progress(s3_measured)),
        is_frozen,
        attempt > 0,
        trigger,
        scheduled_at,
        progress,
        Retention(*retention.outlook(standing)),
    )


def _s3_progress(measured: Any) -> S3Progress | None:
    told = Progress.of(measured)
    return None if told is None else S3Progress(**asdict(told))


SHAPE = Shape(Backup, (*_OWN, *retention.COLUMNS), _build)

LISTING = Listing(
    SHAPE,
    filters={
        "policy": number("policy"),
        "account": number("account"),
        "user": number("user"),
        "status": by_status(BackupOutcome),
        "is_frozen": boolean("is_frozen"),
        "from_time": from_time("started_at"),
        "to_time": to_time("started_at"),
    },
    search=("policy_name", "name", "description"),
    ordering={
        "start_time": by_column("started_at"),
        "finish_time": by_column("finished_at"),
        "status": STATUS,
        "policy": by_column("policy_id"),
        "account": by_column("account_id"),
    },
)


def index(request: Request) -> HttpResponseBase:
    """List backups."""
    is_whole = Page.asked_for(request.http.GET) is None
    return pages.answer(request, request.rows(listed, many=is_whole), LISTING)


def freezer(request: Request) -> HttpResponseBase:
    """List frozen backups; `GET /backups/?is_frozen=true` does so as well."""
    response = pages.answer(request, request.rows(frozen), LISTING)
    if request.version >= Version.V1_1:
        response["Deprecation"] = "@1543622400"
        response["Link"] = '</api/backups/?is_frozen=true>; rel="successor-version"'
    return response


def start(request: Request, policy_id: int) -> HttpResponse:
    """Run a policy now."""
    request.must_see(request.rows(policies.visible_to), policy_id)
    backup = backups.start(policy_id, actor=request.person)
    return answers.one(request, request.rows(listed), backup.pk, SHAPE, status=201)


def show(request: Request, backup_id: int) -> HttpResponse:
    """Retrieve a backup."""
    return answers.one(request, request.rows(listed), backup_id, SHAPE)


def update(request: Request, backup_id: int) -> HttpResponse:
    """Update name and description of a frozen backup."""
    rows = request.rows(listed)
    request.must_see(request.rows(visible_to), backup_id)
    data = request.body(FIELDS)
    with answers.unchanged(request, rows, backup_id, SHAPE):
        backups.update(backup_id, data, actor=request.person)
    return answers.one(request, rows, backup_id, SHAPE)


def freeze(request: Request, backup_id: int) -> HttpResponse:
    """Take a backup out of retention, under a name."""
    request.must_see(request.rows(visible_to), backup_id)
    backups.freeze(backup_id, request.body(FREEZE_FIELDS), actor=request.person)
    return answers.one(request, request.rows(listed), backup_id, SHAPE)


def delete(request: Request, backup_id: int) -> HttpResponse:
    """Delete a backup: its record at once, its snapshots in the background."""
    dry_run = deletions.is_dry_run(request)
    with answers.unchanged(request, request.rows(listed), backup_id, SHAPE):
        choices = services.backup(backup_id, actor=request.person, dry_run=dry_run)
    return deletions.answer(choices, dry_run=dry_run)


def delete_snapshots(request: Request, backup_id: int) -> HttpResponse:
    """Delete the snapshots of a backup in the background; the record stays."""
    dry_run, with_s3 = deletions.is_dry_run(request), deletions.includes_s3(request)
    choices = services.of_backup(backup_id, actor=request.person, dry_run=dry_run, with_s3=with_s3)
    return deletions.answer(choices, dry_run=dry_run)


def delete_snapshots_of_policy(request: Request, policy_id: int) -> HttpResponse:
    """Delete the snapshots of a policy in the background, but for frozen ones."""
    dry_run, with_s3 = deletions.is_dry_run(request), deletions.includes_s3(request)
    choices = services.of_policy(policy_id, actor=request.person, dry_run=dry_run, with_s3=with_s3)
    return deletions.answer(choices, dry_run=dry_run)


def show_logs(request: Request, backup_id: int) -> HttpResponseBase:
    """List what happened in a backup."""
    request.must_see(request.rows(visible_to), backup_id)
    lines = request.rows(events.of_backup, backup_id)
    return logs.answer(request, lines, f"backup_{backup_id}_logs.csv")


_READ, _WRITE = Action.READ, Action.CHANGE_BACKUPS

OPERATIONS = (
    Operation("POST", "/policies/{id}/backups/", start, _WRITE, answer=Backup, status=201),
    deletions.operation(
        "/policies/{id}/snapshots/", delete_snapshots_of_policy, _WRITE, in_bulk=True
    ),
    Operation("GET", "/backups/", index, _READ, listing=LISTING),
    Operation("GET", "/freezer/", freezer, _READ, listing=LISTING),
    Operation("GET", "/backups/{id}/", show, _READ, answer=Backup),
    Operation("PUT", "/backups/{id}/", update, _WRITE, body=FIELDS, answer=Backup),
    deletions.operation("/backups/{id}/", delete, _WRITE),
    logs.operation("/backups/{id}/logs/", show_logs),
    deletions.operation("/backups/{backup_id}/snapshots/", delete_snapshots, _WRITE, in_bulk=True),
    Operation(
        "POST",
        "/backups/{backup_id}/to_freezer/",
        freeze,
        _WRITE,
        body=FREEZE_FIELDS,
        answer=Backup,
    ),
)
