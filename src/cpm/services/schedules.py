"""Writes of schedules."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from cpm.engine import tick
from cpm.kernel import clock, names
from cpm.kernel.schedule import MOST_UNITS, Unit
from cpm.kernel.week import DisabledWindow, Weekday
from cpm.models.schedules import Schedule
from cpm.queries import schedules
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.services import access, audit, unique
from cpm.services.access import Action
from cpm.services.fields import Field, Fields, Kind
from cpm.services.given import Given
from cpm.services.kinds import array, boolean, choice, integer, moment, reference, text

_WINDOW = Kind(
    lambda item: DisabledWindow.parse(item).to_wire(),
    {
        "type": "object",
        "required": ["day", "start_time", "end_time"],
        "properties": {
            "day": {"type": "string", "enum": ["all", *Weekday]},
            "start_time": {"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$"},
            "end_time": {"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$"},
        },
    },
)

FIELDS = Fields(
    (
        Field("name", text(names.name), required=True),
        Field("description", text(names.description, blank=True), nullable=True),
        Field("user", reference(), fixed=True),
        Field("every_unit", choice(*Unit), required=True),
        Field("every_how_many", integer(1, MOST_UNITS), required=True),
        Field("start_date", moment()),
        Field("end_date", moment(), nullable=True),
        Field("disable_times", array(_WINDOW)),
        *(Field(f"allow_on_{day}", boolean()) for day in Weekday),
    )
)

_COLUMNS = {"start_date": "start_at", "end_date": "end_at"}


@transaction.atomic
def create(data: Mapping[str, object], *, actor: Person) -> Schedule:
    """Make a schedule. Raises `Forbidden` and `Invalid`."""
    access.require(actor, Action.CHANGE_BACKUPS)
    given = FIELDS.read(data)
    now = clock.now()
    schedule = Schedule(user_id=access.choose_owner(given, actor), start_at=now, modified_at=now)
    _check(given, schedule)
    for column, value in _columns(given).items():
        setattr(schedule, column, value)
    with unique.kept_by("schedule_name_unique", "name"):
        schedule.save(force_insert=True)
    audit.record(actor, "create schedule", schedule.name)
    return schedule


@transaction.atomic
def update(schedule_id: int, data: Mapping[str, object], *, actor: Person) -> None:
    """Change what `data` holds; from now on it is due by what it then says.

    Raises `Forbidden`, `NotFound` and `Invalid`.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    schedule = one(schedules.visible_to(actor).select_for_update(), schedule_id)
    given = FIELDS.read(data, partial=True)
    _check(given, schedule)
    with unique.kept_by("schedule_name_unique", "name"):
        Schedule.objects.filter(pk=schedule_id).update(**_columns(given), modified_at=clock.now())
    tick.arm_schedule(schedule_id)
    audit.record(actor, "update schedule", schedule.name, ", ".join(given))


@transaction.atomic
def delete(schedule_id: int, *, actor: Person) -> None:
    """Forget a schedule; its policies lose it. Raises `Forbidden` and `NotFound`."""
    access.require(actor, Action.CHANGE_BACKUPS)
    schedule = one(schedules.visible_to(actor).select_for_update(), schedule_id)
    name = schedule.name
    schedule.delete()
    audit.record(actor, "delete schedule", name)


def _check(given: Given, schedule: Schedule) -> None:
    """Raise `Invalid` unless what is given fits what is there."""
    start: datetime = given.get("start_date", schedule.start_at)
    end: datetime | None = given.get("end_date", schedule.end_at)
    if end is not None and end < start:
        field = "end_date" if "end_date" in given else "start_date"
        given.refuse(field, "invalid", "The end must not be before the start.")
    siblings = Schedule.objects.filter(user_id=schedule.user_id).exclude(pk=schedule.pk)
    unique.refuse_taken(given, "name", siblings)
    given.check()


def _columns(given: Given) -> dict[str, Any]:
    """What is given, by column; whose it is stands apart."""
    return {_COLUMNS.get(name, name): value for name, value in given.items() if name != "user"}
