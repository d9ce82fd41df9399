"""The week as schedules see it: weekdays that are allowed and windows in which nothing runs.

Everything here is wall-clock time. A moment belongs to a window when the clock on the wall says
so, which in the night when clocks are put back may be twice.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from cpm.kernel.invalid import Invalid, Problem

MINUTES_PER_DAY = 24 * 60
MINUTES_PER_WEEK = 7 * MINUTES_PER_DAY

_EVERY_DAY = "all"
_FIELDS = ("day", "start_time", "end_time")
_CLOCK_TIME = re.compile(r"(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")


class Weekday(StrEnum):
    """A day of the week, by the API's word for it, in the order of `datetime.weekday()`."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


ALL_WEEKDAYS = frozenset(Weekday)


@dataclass(frozen=True, slots=True)
class DisabledWindow:
    """Hours in which nothing runs, on one weekday or, where `day` is None, on each.

    Both ends are minutes after midnight; the start belongs to the window, the end does not. A
    window that starts later than it ends wraps midnight and belongs to the day it starts on.
    """

    day: Weekday | None
    start_minute: int
    end_minute: int

    def __post_init__(self) -> None:
        if not 0 <= self.start_minute < MINUTES_PER_DAY:
            raise ValueError("a window starts at a minute of its day")
        if not 0 <= self.end_minute <= MINUTES_PER_DAY:
            raise ValueError("a window ends at a minute of a day, or with it")
        if self.start_minute == self.end_minute:
            raise ValueError("a window ends at another time than it starts")

    @classmethod
    def parse(cls, item: object) -> Self:
        """Read one item of `disable_times`; raises `Invalid` with all its problems."""
        if not isinstance(item, Mapping):
            raise Invalid(Problem("invalid", "Expected an object."))
        if problems := list(_problems(item)):
            raise Invalid(*problems)
        day, start, end = (item[field] for field in _FIELDS)
        if start == end:
            raise Invalid(Problem("invalid", "Must differ from start_time.", "end_time"))
        weekday = None if day == _EVERY_DAY else Weekday(day)
        return cls(weekday, _minute_of_day(start), _minute_of_day(end))

    def to_wire(self) -> dict[str, str]:
        """The item of `disable_times` that `parse` reads back as this window."""
        return {
            "day": self.day.value if self.day else _EVERY_DAY,
            "start_time": _clock_time(self.start_minute),
            "end_time": _clock_time(self.end_minute),
        }

    @property
    def length_minutes(self) -> int:
        """How long it is on a day when nobody touches the clock, at most a whole day."""
        return (self.end_minute - self.start_minute) % MINUTES_PER_DAY or MINUTES_PER_DAY

    def minutes_of_week(self) -> Iterator[range]:
        """The stretches of the week that this window covers, none crossing the week's end."""
        for index, day in enumerate(Weekday):
            if self.day in {None, day}:
                start = index * MINUTES_PER_DAY + self.start_minute
                end = start + self.length_minutes
                yield range(start, min(end, MINUTES_PER_WEEK))
                yield range(max(0, end - MINUTES_PER_WEEK))


class OpenWeek:
    """Which minutes of the week are open to runs, after all days and windows are taken out."""

    def __init__(self, allowed: Collection[Weekday], windows: Iterable[DisabledWindow]) -> None:
        is_open = bytearray()
        for day in Weekday:
            is_open += bytes([day in allowed]) * MINUTES_PER_DAY
        for window in windows:
            for minutes in window.minutes_of_week():
                is_open[minutes.start : minutes.stop] = bytes(len(minutes))
        self._is_open = bytes(is_open)

    @property
    def is_never_open(self) -> bool:
        """Whether the days and windows leave nothing at all."""
        return 1 not in self._is_open

    def contains(self, wall: datetime) -> bool:
        """Whether a run may start when the clock on the wall shows this."""
        return bool(self._is_open[_minute_of_week(wall)])

    def minutes_until_open(self, wall: datetime) -> int:
        """How long the clock on the wall has to run until the week is open; 0 where it is.

        Raises ValueError if it never is.
        """
        minute = _minute_of_week(wall)
        later = self._is_open.find(1, minute)
        if later >= 0:
            return later - minute
        return self._is_open.index(1) + MINUTES_PER_WEEK - minute


def _minute_of_week(wall: datetime) -> int:
    return wall.weekday() * MINUTES_PER_DAY + wall.hour * 60 + wall.minute


def _problems(item: Mapping[object, object]) -> Iterator[Problem]:
    for field in _FIELDS:
        if field not in item:
            yield Problem("required", "This field is required.", field)
        elif item[field] is None:
            yield Problem("null", "This field may not be null.", field)
        elif field == "day":
            yield from _day_problems(item[field])
        else:
            yield from _time_problems(item[field], field)


def _day_problems(value: object) -> Iterator[Problem]:
    if not isinstance(value, str) or value not in {_EVERY_DAY, *Weekday}:
        choices = ", ".join([_EVERY_DAY, *Weekday])
        yield Problem("invalid_choice", f"Must be one of {choices}.", "day")


def _time_problems(value: object, field: str) -> Iterator[Problem]:
    if not isinstance(value, str) or not _CLOCK_TIME.fullmatch(value):
        yield Problem("invalid", "Expected a time of day as HH:MM.", field)
    elif field == "start_time" and value == "24:00":
        yield Problem("invalid", "24:00 can only be an end.", field)


def _minute_of_day(clock_time: str) -> int:
    return int(clock_time[:2]) * 60 + int(clock_time[3:])


def _clock_time(minute_of_day: int) -> str:
    return f"{minute_of_day // 60:02}:{minute_of_day % 60:02}"
