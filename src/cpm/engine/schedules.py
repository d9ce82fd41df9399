"""Schedules as rows and as arithmetic."""

from zoneinfo import ZoneInfo

from django.conf import settings

from cpm.kernel import schedule as arithmetic
from cpm.kernel.week import DisabledWindow, Weekday
from cpm.models.schedules import Schedule


def arithmetic_of(row: Schedule) -> arithmetic.Schedule:
    """What a row says, ready for questions about times, in the server's zone."""
    return arithmetic.Schedule(
        every_unit=arithmetic.Unit(row.every_unit),
        every_how_many=row.every_how_many,
        start_at=row.start_at,
        end_at=row.end_at,
        zone=ZoneInfo(settings.ENVIRONMENT.time_zone),
        allowed_weekdays=frozenset(day for day in Weekday if getattr(row, f"allow_on_{day}")),
        disable_times=tuple(DisabledWindow.parse(item) for item in row.disable_times),
    )
