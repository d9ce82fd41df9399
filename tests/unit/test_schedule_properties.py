"""The arithmetic of schedules against a slow reference that is obviously right.

The reference knows no places, leaps and folds: it counts k up from the start, asks the zone for
its offset hour by hour, and compares windows with the clock on the wall.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count, islice, pairwise, takewhile
from zoneinfo import ZoneInfo

from hypothesis import assume, given
from hypothesis import strategies as st

from cpm.kernel.schedule import Schedule, Unit
from cpm.kernel.week import DisabledWindow, Weekday

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Asia/Kathmandu",
]
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@cache
def offset(zone: str, hour: datetime) -> timedelta:
    found = hour.astimezone(ZoneInfo(zone)).utcoffset()
    assert found is not None
    return found


@cache
def offsets_around(zone: str, wall_hour: datetime) -> list[timedelta]:
    """The offsets, oldest first, that the zone has within 26 hours of the wall-clock time."""
    middle = wall_hour.replace(tzinfo=UTC)
    return list(dict.fromkeys(offset(zone, middle + hours * HOUR) for hours in range(-26, 27)))


def instant(zone: str, wall: datetime) -> datetime:
    """The first moment at which the clock on the wall shows this; if none, as before the gap."""
    offsets = offsets_around(zone, wall.replace(minute=0))
    moments = [wall.replace(tzinfo=UTC) - each for each in offsets]
    shown = [each for each in moments if wall_clock(zone, each) == wall]
    return min(shown) if shown else wall.replace(tzinfo=UTC) - offsets[0]


def wall_clock(zone: str, time: datetime) -> datetime:
    return time.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def months_later(wall: datetime, months: int) -> datetime:
    year, month = wall.year, wall.month
    for _ in range(months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    for day in (wall.day, 30, 29, 28):
        try:
            return wall.replace(year=year, month=month, day=min(day, wall.day))
        except ValueError:
            continue
    raise AssertionError("every month has 28 days")


def slow_time(schedule: Schedule, k: int) -> datetime:
    steps = k * schedule.every_how_many
    start = schedule.start_at.replace(second=0, microsecond=0)
    wall = wall_clock(schedule.zone.key, start)
    if k == 0:
        return start
    if schedule.every_unit is Unit.MINUTES:
        return start + steps * MINUTE
    if schedule.every_unit is Unit.HOURS:
        return start + steps * HOUR
    if schedule.every_unit is Unit.DAYS:
        return instant(schedule.zone.key, wall + timedelta(days=steps))
    if schedule.every_unit is Unit.WEEKS:
        return instant(schedule.zone.key, wall + timedelta(days=7 * steps))
    return instant(schedule.zone.key, months_later(wall, steps))


def slow_grid(schedule: Schedule) -> Iterator[datetime]:
    """Each time once, from the start to the end."""
    latest = None
    for k in count():
        time = slow_time(schedule, k)
        if schedule.end_at and time > schedule.end_at:
            return
        if time != latest:
            yield time
        latest = time


def covers(window: DisabledWindow, wall: datetime) -> bool:
    today = wall.strftime("%A").lower()
    yesterday = (wall - timedelta(days=1)).strftime("%A").lower()
    minute = wall.hour * 60 + wall.minute
    if window.start_minute < window.end_minute:
        on_this_day = window.day in {None, today}
        return on_this_day and window.start_minute <= minute < window.end_minute
    return (window.day in {None, today} and minute >= window.start_minute) or (
        window.day in {None, yesterday} and minute < window.end_minute
    )


def slow_allows(schedule: Schedule, time: datetime) -> bool:
    wall = wall_clock(schedule.zone.key, time)
    heeds_weekdays = schedule.every_unit in {Unit.MINUTES, Unit.HOURS, Unit.DAYS}
    if heeds_weekdays and wall.strftime("%A").lower() not in schedule.allowed_weekdays:
        return False
    return not any(covers(window, wall) for window in schedule.disable_times)


@cache
def clock_changes(zone: str) -> list[datetime]:
    """The hours between 1990 and 2040 after which the zone's offset is another."""
    days = [datetime(1990, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(50 * 365)]
    changing = [a for a, b in pairwise(days) if offset(zone, a) != offset(zone, b)]
    return [
        hour
        for day in changing
        for hour in (day + hours * HOUR for hours in range(24))
        if offset(zone, hour) != offset(zone, hour + HOUR)
    ] or [datetime(2000, 2, 28, tzinfo=UTC)]


@st.composite
def starts(draw: st.DrawFn, zone: str) -> datetime:
    """Mostly near a change of clocks or the end of a month."""
    month_ends = [datetime(2023, 12, 31, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=UTC)]
    near = draw(st.sampled_from(clock_changes(zone) + month_ends * 10))
    away = st.integers(-3 * 1440, 3 * 1440) | st.integers(-400 * 1440, 400 * 1440)
    return near + draw(away) * MINUTE + timedelta(seconds=draw(st.integers(0, 59)))


@st.composite
def windows(draw: st.DrawFn) -> DisabledWindow:
    start = draw(st.integers(0, 1439))
    end = draw(st.integers(0, 1440).filter(lambda minute: minute != start))
    return DisabledWindow(draw(st.none() | st.sampled_from(Weekday)), start, end)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    zone, every_unit = draw(st.sampled_from(ZONES)), draw(st.sampled_from(Unit))
    most_units = 9999 if every_unit in {Unit.MINUTES, Unit.HOURS} else 40
    start_at = draw(starts(zone))
    lasts = draw(st.none() | st.timedeltas(timedelta(0), timedelta(days=800)))
    return Schedule(
        every_unit=every_unit,
        every_how_many=draw(st.integers(1, 3) | st.integers(1, most_units)),
        start_at=start_at,
        end_at=None if lasts is None else start_at + lasts,
        zone=ZoneInfo(zone),
        allowed_weekdays=frozenset(draw(st.sets(st.sampled_from(Weekday), min_size=1))),
        disable_times=tuple(draw(st.lists(windows(), max_size=3))),
    )


@given(schedules())
def test_the_grid_is_the_slow_grid(schedule: Schedule) -> None:
    before = schedule.start_at - MINUTE
    assert list(islice(schedule.grid(before), 60)) == list(islice(slow_grid(schedule), 60))


@given(schedules(), st.integers(0, 40), st.timedeltas(-2 * HOUR, 2 * HOUR))
def test_the_grid_can_be_entered_anywhere(schedule: Schedule, place: int, away: timedelta) -> None:
    after = slow_time(schedule, place) + away
    expected = (time for time in slow_grid(schedule) if time > after)
    assert list(islice(schedule.grid(after), 5)) == list(islice(expected, 5))


@given(schedules().map(lambda schedule: replace(schedule, end_at=None)), st.integers(0, 9_999))
def test_far_places_are_found_as_near_ones(schedule: Schedule, steps: int) -> None:
    place = steps // schedule.every_how_many
    here, then = slow_time(schedule, place), slow_time(schedule, place + 1)
    assume(here < then)
    assert next(schedule.grid(here - timedelta(seconds=1))) == here
    assert next(schedule.grid(here)) == then
    assert next(schedule.grid(then - timedelta(seconds=1))) == then


@given(schedules(), st.integers(0, 60))
def test_runs_are_the_grid_without_what_is_not_allowed(schedule: Schedule, place: int) -> None:
    after, until = schedule.start_at, slow_time(schedule, place)
    grid = takewhile(lambda time: time <= until, slow_grid(schedule))
    expected = [time for time in grid if time > after and slow_allows(schedule, time)]
    assert list(schedule.runs_between(after, until)) == expected


@given(schedules(), st.integers(0, 60))
def test_the_next_run_is_the_first_that_the_slow_grid_allows(
    schedule: Schedule, place: int
) -> None:
    after = slow_time(schedule, place)
    looked_at = list(islice((time for time in slow_grid(schedule) if time > after), 200))
    expected = next((time for time in looked_at if slow_allows(schedule, time)), None)
    found = schedule.next_run(after)
    if expected is None and looked_at and found is not None:
        assert found > looked_at[-1]
        assert slow_allows(schedule, found)
    else:
        assert found == expected


@given(schedules(), st.timedeltas(-HOUR, 30 * HOUR), st.timedeltas(timedelta(0), 50 * HOUR))
def test_the_latest_run_is_the_last_that_the_slow_grid_allows(
    schedule: Schedule, later: timedelta, not_before: timedelta
) -> None:
    until = slow_time(schedule, 3) + later
    assume(until - schedule.start_at < timedelta(days=90))
    earliest = until - not_before
    grid = takewhile(lambda time: time <= until, slow_grid(schedule))
    runs = [time for time in grid if time >= earliest and slow_allows(schedule, time)]
    assert schedule.latest_run(until, not_before=earliest) == (runs[-1] if runs else None)


@given(schedules(), st.integers(0, 50), st.timedeltas(timedelta(0), 30 * HOUR))
def test_a_run_is_due_until_the_next_time_of_the_grid(
    schedule: Schedule, place: int, late: timedelta
) -> None:
    run, following = slow_time(schedule, place), slow_time(schedule, place + 1)
    assume(slow_allows(schedule, run) and not (schedule.end_at and run > schedule.end_at))
    now = run + late
    due = schedule.due_run(now, not_before=run)
    if now < following:
        assert due == run
    else:
        assert due != run or run == following
