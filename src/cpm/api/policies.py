"""Policies on the wire, with their options and the times at which they will run."""

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase

from cpm.api import answers, pages
from cpm.api.lists import Listing, boolean, by_column, by_text, number, text
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import Shape, Shown
from cpm.models.policies import AutoRemove, SuccessIndication
from cpm.queries import policies as queries
from cpm.queries.policies import listed, visible_to
from cpm.services import policies
from cpm.services.access import Action
from cpm.services.fields import Field, Fields
from cpm.services.kinds import integer
from cpm.services.policies import FIELDS, OPTIONS

DAYS_AHEAD = Fields((Field("days_ahead", integer(1, 365)),))


class LastBackup(Shown):
    """What there is to say of a policy's latest run; the letters are those of backups."""

    id: int
    status: str
    start_time: datetime


class Policy(Shown):
    """What is protected, when, and for how many generations."""

    id: int
    user: int
    account: int
    name: str
    description: str | None
    enabled: bool
    generations: int
    schedules: list[int]
    auto_remove_resource: AutoRemove
    dr_enabled: bool
    copy_to_s3_enabled: bool
    last_modified: datetime
    last_backup: LastBackup | None = None


class RunTime(Shown):
    """One time at which a policy will run, and the schedule that says so."""

    run_time: datetime
    schedule: int
    schedule_name: str


class Options(Shown):
    """How runs of a policy behave."""

    enable_agent_scripts: bool
    agent_script_timeout: int
    collect_script_output: bool
    backup_success_indication: SuccessIndication
    retry_count: int
    retry_wait_minutes: int
    alert_after_failures: int


def _build(*row: Any) -> Policy:
    *columns, last_id, last_outcome, last_started_at = row
    policy = Policy(*columns)
    if last_id is not None:
        policy.last_backup = LastBackup(last_id, last_outcome or "P", last_started_at)
    return policy


SHAPE = Shape(
    Policy,
    (
        *("id", "user", "account", "name", "description", "enabled", "generations"),
        *("schedule_ids", "auto_remove_resource", "dr_enabled", "s3_enabled"),
        "modified_at",
        *("last_backup_id", "last_backup_outcome", "last_backup_started_at"),
    ),
    _build,
)

OPTIONS_SHAPE = Shape(
    Options,
    (
        *("enable_agent_scripts", "agent_script_timeout_seconds", "collect_script_output"),
        *("backup_success_indication", "retry_count", "retry_wait_minutes"),
        "alert_after_failures",
    ),
    Options,
)

LISTING = Listing(
    SHAPE,
    filters={
        "account": number("account"),
        "user": number("user"),
        "enabled": boolean("enabled"),
        "name": text("name"),
    },
    search=("name", "description"),
    ordering={
        "name": by_text("name"),
        "account": by_column("account_id"),
        "user": by_column("user_id"),
        "enabled": by_column("enabled"),
    },
)


def index(request: Request) -> HttpResponseBase:
    """List policies."""
    return pages.answer(request, request.rows(listed), LISTING)


def create(request: Request) -> HttpResponse:
    """Create a policy."""
    policy = policies.create(request.body(FIELDS), actor=request.person)
    return answers.one(request, request.rows(listed), policy.pk, SHAPE, status=201)


def show(request: Request, policy_id: int) -> HttpResponse:
    """Retrieve a policy."""
    return answers.one(request, request.rows(listed), policy_id, SHAPE)


def update(request: Request, policy_id: int) -> HttpResponse:
    """Update a policy; what is left out stays as it is, schedules are replaced as a whole."""
    rows = request.rows(listed)
    request.must_see(request.rows(visible_to), policy_id)
    data = request.body(FIELDS)
    with answers.unchanged(request, rows, policy_id, SHAPE):
        policies.update(policy_id, data, actor=request.person)
    return answers.one(request, rows, policy_id, SHAPE)


def delete(request: Request, policy_id: int) -> HttpResponse:
    """Delete a policy; its snapshots and the records of its runs stay."""
    with answers.unchanged(request, request.rows(listed), policy_id, SHAPE):
        policies.delete(policy_id, actor=request.person)
    return answers.nothing()


def show_options(request: Request, policy_id: int) -> HttpResponse:
    """Retrieve how the runs of a policy behave."""
    return answers.one(request, request.rows(visible_to), policy_id, OPTIONS_SHAPE)


def update_options(request: Request, policy_id: int) -> HttpResponse:
    """Update how the runs of a policy behave."""
    visible = request.rows(visible_to)
    request.must_see(visible, policy_id)
    data = request.body(OPTIONS)
    with answers.unchanged(request, visible, policy_id, OPTIONS_SHAPE):
        policies.update_options(policy_id, data, actor=request.person)
    return answers.one(request, visible, policy_id, OPTIONS_SHAPE)


def run_times(request: Request, policy_id: int) -> HttpResponse:
    """List when a policy will run; a disabled one will not."""
    request.must_see(request.rows(visible_to), policy_id)
    runs = queries.run_times(request.person, policy_id, _days_ahead(request))
    times = [RunTime(run.run_at, run.schedule_id, run.schedule_name) for run in runs]
    return pages.answer_values(request, times)


def _days_ahead(request: Request) -> int:
    given = DAYS_AHEAD.read(request.http.GET.dict())
    given.check()
    return int(given.get("days_ahead", 1))


_READ, _WRITE = Action.READ, Action.CHANGE_BACKUPS

OPERATIONS = (
    Operation("GET", "/policies/", index, _READ, listing=LISTING),
    Operation("POST", "/policies/", create, _WRITE, body=FIELDS, answer=Policy, status=201),
    Operation("GET", "/policies/{id}/", show, _READ, answer=Policy),
    Operation("PUT", "/policies/{id}/", update, _WRITE, body=FIELDS, answer=Policy),
    Operation("DELETE", "/policies/{id}/", delete, _WRITE, status=204),
    Operation("GET", "/policies/{id}/options/", show_options, _READ, answer=Options),
    Operation(
        "PUT", "/policies/{id}/options/", update_options, _WRITE, body=OPTIONS, answer=Options
    ),
    Operation(
        "GET",
        "/policies/{policy_id}/run_times/",
        run_times,
        _READ,
        answer=RunTime,
        is_array=True,
        parameters={field.name: field.kind.schema for field in DAYS_AHEAD},
    ),
)
