"""Windows of disabled times, on the wire and on the wall."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpm.kernel.invalid import Invalid
from cpm.kernel.week import ALL_WEEKDAYS, DisabledWindow, OpenWeek, Weekday

SOME_DAY = {"day": "all", "start_time": "22:00", "end_time": "06:00"}
A_MONDAY = datetime(2026, 1, 5)  # noqa: DTZ001 - the clock on the wall

minutes = st.integers(0, 1439)


def problems_of(item: object) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as caught:
        DisabledWindow.parse(item)
    return [(problem.field, problem.code) for problem in caught.value.problems]


def test_a_window_is_printed_as_it_was_sent() -> None:
    assert DisabledWindow.parse(SOME_DAY).to_wire() == SOME_DAY


@given(st.sampled_from(["all", *(day.value for day in Weekday)]), minutes, st.integers(0, 1440))
def test_every_window_survives_the_wire(day: str, start: int, end: int) -> None:
    if start == end:
        end = 1440
    window = DisabledWindow(None if day == "all" else Weekday(day), start, end)
    assert window.to_wire()["day"] == day
    assert DisabledWindow.parse(window.to_wire()) == window


@pytest.mark.parametrize("end_time", ["24:00", "00:00"])
def test_midnight_as_an_end_may_be_written_either_way(end_time: str) -> None:
    window = DisabledWindow.parse(SOME_DAY | {"end_time": end_time})
    assert window.length_minutes == 120
    assert window.to_wire()["end_time"] == end_time


@pytest.mark.parametrize("item", ["monday", 5, None, [SOME_DAY], True])
def test_what_is_no_object_is_invalid_as_a_whole(item: object) -> None:
    assert problems_of(item) == [("", "invalid")]


def test_all_problems_are_told_at_once() -> None:
    assert problems_of({"day": "Monday", "start_time": None}) == [
        ("day", "invalid_choice"),
        ("start_time", "null"),
        ("end_time", "required"),
    ]


@pytest.mark.parametrize("day", ["", "Monday", "mon", "ALL", 1, ["monday"], {}, True, "all\n"])
def test_a_day_is_one_of_eight_words(day: object) -> None:
    assert problems_of(SOME_DAY | {"day": day}) == [("day", "invalid_choice")]


@pytest.mark.parametrize(
    "time",
    ["", "9:00", "25:00", "12:60", "24:01", "12:00:00", "12.00", "\u0661\u0662:00", " 12:00", 720],
)
@pytest.mark.parametrize("field", ["start_time", "end_time"])
def test_a_time_is_two_digits_twice(field: str, time: object) -> None:
    assert problems_of(SOME_DAY | {field: time}) == [(field, "invalid")]


def test_a_window_does_not_start_at_the_end_of_the_day() -> None:
    assert problems_of(SOME_DAY | {"start_time": "24:00"}) == [("start_time", "invalid")]


def test_a_window_without_length_is_invalid() -> None:
    assert problems_of(SOME_DAY | {"end_time": "22:00"}) == [("end_time", "invalid")]


def test_unknown_keys_are_ignored() -> None:
    assert DisabledWindow.parse(SOME_DAY | {"colour": "red"}) == DisabledWindow.parse(SOME_DAY)


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (1440, 5), (5, 1441), (5, -1), (7, 7)])
def test_no_window_is_made_outside_the_day(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="a window"):
        DisabledWindow(None, start, end)


def test_a_week_without_an_open_minute_is_never_open() -> None:
    halves = [DisabledWindow(None, 0, 720), DisabledWindow(None, 720, 1440)]
    assert OpenWeek(ALL_WEEKDAYS, halves).is_never_open
    assert OpenWeek([], []).is_never_open
    assert not OpenWeek(ALL_WEEKDAYS, halves[:1]).is_never_open


def test_a_window_on_the_last_day_of_the_week_reaches_into_the_first() -> None:
    week = OpenWeek(ALL_WEEKDAYS, [DisabledWindow(Weekday.SUNDAY, 1439, 1)])
    assert not week.contains(A_MONDAY)
    assert week.contains(A_MONDAY + timedelta(minutes=1))
    assert not week.contains(A_MONDAY + timedelta(days=7, minutes=-1))
    assert week.contains(A_MONDAY + timedelta(days=7, minutes=-2))


@given(
    st.builds(DisabledWindow, st.none() | st.sampled_from(Weekday), minutes, st.just(1440)),
    st.sets(st.sampled_from(Weekday), min_size=1),
    st.integers(0, 7 * 1440 - 1),
)
def test_the_week_opens_at_the_first_minute_that_it_holds(
    window: DisabledWindow, allowed: set[Weekday], minute: int
) -> None:
    week = OpenWeek(allowed, [window])
    wall = A_MONDAY + timedelta(minutes=minute)
    if week.is_never_open:
        return
    until_open = week.minutes_until_open(wall)
    assert week.contains(wall + timedelta(minutes=until_open))
    closed = (wall + timedelta(minutes=passed) for passed in range(until_open))
    assert not any(week.contains(each) for each in closed)
