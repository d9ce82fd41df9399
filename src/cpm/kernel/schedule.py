"""When a schedule is due: arithmetic on calendars and clocks, with no state and no clock.

A schedule is a grid of times, start + k x interval, of which some are skipped. Minutes and hours
count on a clock that is never changed (UTC's); days, weeks and months count on the server's wall
clock, so that "daily at 02:30" stays at 02:30 through the year. Finding a place in the grid takes
the same few steps whether the schedule began today or twenty years ago.
"""

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import cached_property
from itertools import takewhile
from zoneinfo import ZoneInfo

from cpm.kernel import times
from cpm.kernel.week import ALL_WEEKDAYS, MINUTES_PER_WEEK, DisabledWindow, OpenWeek, Weekday

MOST_UNITS = 9999

# Python's calendar ends with the year 9999. Grids end well before, so that no step of `MOST_UNITS`
# and no time zone leads out of it.
_END_OF_GRIDS = datetime(9000, 1, 1, tzinfo=UTC)

# After as many looks as the week has minutes, a grid has met each minute of the week that it
# ever meets: a run that was not found by then is not to be expected.
_MOST_LOOKS = MINUTES_PER_WEEK

_ONE_DAY = timedelta(days=1)
_ONE_MINUTE = timedelta(minutes=1)


class Unit(StrEnum):
    """What a schedule counts in, by the API's letters, from the shortest to the longest."""

    MINUTES = "M"
    HOURS = "H"
    DAYS = "D"
    WEEKS = "W"
    MONTHS = "O"

    @property
    def rank(self) -> int:
        """The unit's place when units are ordered by length."""
        return list(Unit).index(self)

    @property
    def follows_wall_clock(self) -> bool:
        """Whether it keeps the time of day when clocks change."""
        return self in {Unit.DAYS, Unit.WEEKS, Unit.MONTHS}

    @property
    def heeds_weekdays(self) -> bool:
        """Whether the allowed weekdays have a say."""
        return self in {Unit.MINUTES, Unit.HOURS, Unit.DAYS}


_LENGTHS = {
    Unit.MINUTES: _ONE_MINUTE,
    Unit.HOURS: timedelta(hours=1),
    Unit.DAYS: _ONE_DAY,
    Unit.WEEKS: timedelta(weeks=1),
}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A grid of times and what is skipped of it.

    `start_at`, cut to the minute, is the first time of the grid, `end_at` the last that may be
    one. Weekdays and windows are those of `zone` at the run; both only skip, the grid stays.
    All times taken and given are aware; those given are UTC. Raises ValueError on an interval
    outside 1 to 9999 and on a start that `times.parse` would not let in.
    """

    every_unit: Unit
    every_how_many: int
    start_at: datetime
    end_at: datetime | None = None
    zone: ZoneInfo
    allowed_weekdays: frozenset[Weekday] = ALL_WEEKDAYS
    disable_times: tuple[DisabledWindow, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.every_how_many <= MOST_UNITS:
            raise ValueError(f"an interval is 1 to {MOST_UNITS} units")
        if not times.EARLIEST <= self.start_at <= times.LATEST:
            raise ValueError("the start is outside the calendar")

    def grid(self, after: datetime) -> Iterator[datetime]:
        """The times of the grid later than `after`, ascending, skipped ones included."""
        latest = after
        for k in range(self._place(after) + 1, self._steps_until(_END_OF_GRIDS)):
            time = self._time(k)
            if self.end_at and time > self.end_at:
                return
            # Where a zone has left out a whole day, two days may fall on one time.
            if time > latest:
                yield time
                latest = time

    def allows(self, time: datetime) -> bool:
        """Whether `time` is on an allowed weekday and outside the windows."""
        return self._open_week.contains(time.astimezone(self.zone))

    def next_run(self, after: datetime) -> datetime | None:
        """The first run later than `after`; None if there is none, ever or within reason."""
        if self._open_week.is_never_open:
            return None
        grid = self.grid(after)
        for _ in range(_MOST_LOOKS):
            time = next(grid, None)
            if time is None or self.allows(time):
                return time
            # Steps of a day and more are long enough.
            if not self.every_unit.follows_wall_clock:
                grid = self.grid(self._closed_through(time))
        return None

    def runs_between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The runs later than `after` and not later than `until`, ascending."""
        return filter(self.allows, takewhile(lambda time: time <= until, self.grid(after)))

    def latest_run(self, until: datetime, *, not_before: datetime) -> datetime | None:
        """The last run not later than `until`; None if it is earlier than `not_before`."""
        for k in range(self._place(until), -1, -1):
            time = self._time(k)
            if time < not_before:
                return None
            if self.allows(time) and not (self.end_at and time > self.end_at):
                return time
        return None

    def due_run(self, now: datetime, *, not_before: datetime) -> datetime | None:
        """The one run to start at `now` for all that came due since `not_before`.

        It is the latest of them, if it is younger than the schedule's interval: that is, if the
        grid has had no other time since.
        """
        place = self._place(now)
        if place < 0:
            return None
        return self.latest_run(now, not_before=max(not_before, self._time(place)))

    @cached_property
    def _open_week(self) -> OpenWeek:
        allowed = self.allowed_weekdays if self.every_unit.heeds_weekdays else ALL_WEEKDAYS
        return OpenWeek(allowed, self.disable_times)

    @cached_property
    def _first(self) -> datetime:
        return self.start_at.astimezone(UTC).replace(second=0, microsecond=0)

    @cached_property
    def _clock(self) -> tzinfo:
        """The clock that the interval is counted on."""
        return self.zone if self.every_unit.follows_wall_clock else UTC

    @cached_property
    def _first_local(self) -> datetime:
        return self._first.astimezone(self._clock)

    @cached_property
    def _interval(self) -> timedelta:
        return self.every_how_many * _LENGTHS[self.every_unit]

    def _time(self, k: int) -> datetime:
        """The time of the grid at place `k`.

        Sums within one zone are made by its wall clock, and their results have no `fold`: one
        that does not exist is read with the offset before the gap, of one that exists twice the
        first is meant. So it is promised. The start itself may be a second one.
        """
        if k == 0:
            return self._first
        if self.every_unit is Unit.MONTHS:
            local = add_months(self._first_local, k * self.every_how_many)
        else:
            local = self._first_local + k * self._interval
        return local.astimezone(UTC)

    def _place(self, time: datetime) -> int:
        """The last place in the grid that is not later than `time`; -1 before the start."""
        time = min(time, _END_OF_GRIDS)
        if time < self._first:
            return -1
        # One step back is far enough: the day of the month may be ahead still, and the clock may
        # have been changed, but not by more than a day.
        place = max(0, self._steps_until(time) - 1)
        while self._time(place + 1) <= time:
            place += 1
        return place

    def _steps_until(self, time: datetime) -> int:
        """How many intervals fit between the start and `time`, by dates and wall clock alone."""
        local = time.astimezone(self._clock)
        if self.every_unit is Unit.MONTHS:
            return (_months(local) - _months(self._first_local)) // self.every_how_many
        return (local - self._first_local) // self._interval

    def _closed_through(self, time: datetime) -> datetime:
        """How far from `time`, which is not allowed, nothing else is allowed for certain.

        The week tells how long the wall clock has to run, which is that long only while nobody
        touches the clock. Nobody changes it and changes it back within a day.
        """
        closed_minutes = self._open_week.minutes_until_open(time.astimezone(self.zone))
        through = time + min(closed_minutes * _ONE_MINUTE, _ONE_DAY) - _ONE_MINUTE
        return through if self._offset(through) == self._offset(time) else time

    def _offset(self, time: datetime) -> timedelta | None:
        return time.astimezone(self.zone).utcoffset()


def _months(local: datetime) -> int:
    return local.year * 12 + local.month - 1


def add_months(local: datetime, months: int) -> datetime:
    """The same day `months` later, or the month's last day where it has no such day."""
    year, month0 = divmod(_months(local) + months, 12)
    last_day = calendar.monthrange(year, month0 + 1)[1]
    return local.replace(year=year, month=month0 + 1, day=min(local.day, last_day), fold=0)
