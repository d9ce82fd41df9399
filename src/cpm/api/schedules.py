"""Schedules on the wire."""

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from msgspec import UNSET, UnsetType

from cpm.api import answers, pages
from cpm.api.lists import Listing, by_column, by_text, choice, number, text
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import Shape, Shown
from cpm.kernel.schedule import Unit
from cpm.queries.schedules import UNIT_RANK, visible_to
from cpm.services import schedules
from cpm.services.access import Action
from cpm.services.schedules import FIELDS


class DisableTime(Shown):
    """A window in which nothing runs."""

    day: str
    start_time: str
    end_time: str


class Schedule(Shown):
    """When policies run. The weekdays have a say, and are shown, for minutes, hours and days."""

    id: int
    name: str
    description: str | None
    user: int
    every_unit: Unit
    every_how_many: int
    start_date: datetime
    end_date: datetime | None
    last_modified: datetime
    allow_on_sunday: bool | UnsetType
    allow_on_monday: bool | UnsetType
    allow_on_tuesday: bool | UnsetType
    allow_on_wednesday: bool | UnsetType
    allow_on_thursday: bool | UnsetType
    allow_on_friday: bool | UnsetType
    allow_on_saturday: bool | UnsetType
    disable_times: list[DisableTime]


def _build(*row: Any) -> Schedule:
    schedule = Schedule(*row)
    if schedule.every_unit not in _WITH_WEEKDAYS:
        for day in _DAYS:
            setattr(schedule, day, UNSET)
    return schedule


_DAYS = tuple(name for name in Schedule.__struct_fields__ if name.startswith("allow_on_"))

_WITH_WEEKDAYS = frozenset(unit.value for unit in Unit if unit.heeds_weekdays)

SHAPE = Shape(
    Schedule,
    (
        *("id", "name", "description", "user", "every_unit", "every_how_many"),
        *("start_at", "end_at", "modified_at", *_DAYS, "disable_times"),
    ),
    _build,
)

LISTING = Listing(
    SHAPE,
    filters={
        "user": number("user"),
        "name": text("name"),
        "every_unit": choice("every_unit", Unit),
    },
    search=("name", "description"),
    ordering={
        "name": by_text("name"),
        "every_unit": UNIT_RANK,
        "every_how_many": by_column("every_how_many"),
        "start_date": by_column("start_at"),
    },
)


def index(request: Request) -> HttpResponseBase:
    """List schedules."""
    return pages.answer(request, request.rows(visible_to), LISTING)


def create(request: Request) -> HttpResponse:
    """Create a schedule."""
    schedule = schedules.create(request.body(FIELDS), actor=request.person)
    return answers.one(request, request.rows(visible_to), schedule.pk, SHAPE, status=201)


def show(request: Request, schedule_id: int) -> HttpResponse:
    """Retrieve a schedule."""
    return answers.one(request, request.rows(visible_to), schedule_id, SHAPE)


def update(request: Request, schedule_id: int) -> HttpResponse:
    """Update a schedule; what is left out stays as it is."""
    visible = request.rows(visible_to)
    request.must_see(visible, schedule_id)
    data = request.body(FIELDS)
    with answers.unchanged(request, visible, schedule_id, SHAPE):
        schedules.update(schedule_id, data, actor=request.person)
    return answers.one(request, visible, schedule_id, SHAPE)


def delete(request: Request, schedule_id: int) -> HttpResponse:
    """Delete a schedule; policies that used it lose it."""
    with answers.unchanged(request, request.rows(visible_to), schedule_id, SHAPE):
        schedules.delete(schedule_id, actor=request.person)
    return answers.nothing()


_WRITE = Action.CHANGE_BACKUPS

OPERATIONS = (
    Operation("GET", "/schedules/", index, Action.READ, listing=LISTING),
    Operation("POST", "/schedules/", create, _WRITE, body=FIELDS, answer=Schedule, status=201),
    Operation("GET", "/schedules/{id}/", show, Action.READ, answer=Schedule),
    Operation("PUT", "/schedules/{id}/", update, _WRITE, body=FIELDS, answer=Schedule),
    Operation("DELETE", "/schedules/{id}/", delete, _WRITE, status=204),
)
