"""What is promised about the times at which policies run, by example."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from cpm.kernel import times
from cpm.kernel.schedule import Schedule, Unit
from cpm.kernel.week import ALL_WEEKDAYS, DisabledWindow, Weekday

BERLIN = ZoneInfo("Europe/Berlin")
UTC_ZONE = ZoneInfo("UTC")
WEEKEND = frozenset({Weekday.SATURDAY, Weekday.SUNDAY})


def schedule(
    every: str,
    start: str,
    zone: ZoneInfo = UTC_ZONE,
    *,
    end: str | None = None,
    allowed_weekdays: frozenset[Weekday] = ALL_WEEKDAYS,
    disable_times: tuple[DisabledWindow, ...] = (),
) -> Schedule:
    """`every` is written `15M`, the times as on the wire."""
    return Schedule(
        every_unit=Unit(every[-1]),
        every_how_many=int(every[:-1]),
        start_at=times.parse(start),
        end_at=times.parse(end) if end else None,
        zone=zone,
        allowed_weekdays=allowed_weekdays,
        disable_times=disable_times,
    )


def runs(of: Schedule, after: str, until: str) -> list[str]:
    found = of.runs_between(times.parse(after), times.parse(until))
    return [times.to_wire(time) for time in found]


def first_grid_times(of: Schedule, count: int) -> list[str]:
    before = of.start_at - timedelta(minutes=1)
    return [times.to_wire(time) for time in islice(of.grid(before), count)]


def next_run(of: Schedule, after: str) -> str | None:
    time = of.next_run(times.parse(after))
    return times.to_wire(time) if time else None


def window(day: str, start_time: str, end_time: str) -> DisabledWindow:
    return DisabledWindow.parse({"day": day, "start_time": start_time, "end_time": end_time})


def test_the_start_is_the_first_time_cut_to_the_minute() -> None:
    start = datetime(2026, 1, 1, 12, 0, 59, 999_999, tzinfo=UTC)
    every_five = Schedule(every_unit=Unit.MINUTES, every_how_many=5, start_at=start, zone=UTC_ZONE)
    assert first_grid_times(every_five, 2) == ["2026-01-01T12:00:00Z", "2026-01-01T12:05:00Z"]


def test_nothing_runs_before_the_start() -> None:
    assert next_run(schedule("1H", "2026-06-01"), "2020-01-01") == "2026-06-01T00:00:00Z"


def test_a_run_is_later_than_the_moment_asked_about() -> None:
    assert next_run(schedule("1H", "2026-06-01"), "2026-06-01T01:00") == "2026-06-01T02:00:00Z"


def test_stretches_that_follow_each_other_hold_each_run_once() -> None:
    hourly = schedule("1H", "2026-06-01")
    assert runs(hourly, "2026-06-01T00:00", "2026-06-01T02:00") == [
        "2026-06-01T01:00:00Z",
        "2026-06-01T02:00:00Z",
    ]
    assert runs(hourly, "2026-06-01T02:00", "2026-06-01T03:00") == ["2026-06-01T03:00:00Z"]


def test_the_end_may_be_a_run_and_nothing_runs_after_it() -> None:
    daily = schedule("1D", "2026-01-01", end="2026-01-03")
    assert runs(daily, "2026-01-01", "2027-01-01") == [
        "2026-01-02T00:00:00Z",
        "2026-01-03T00:00:00Z",
    ]
    assert next_run(daily, "2026-01-03") is None


def test_a_month_without_the_day_uses_its_last_and_the_next_has_the_day_again() -> None:
    assert first_grid_times(schedule("1O", "2024-01-31"), 5) == [
        "2024-01-31T00:00:00Z",
        "2024-02-29T00:00:00Z",
        "2024-03-31T00:00:00Z",
        "2024-04-30T00:00:00Z",
        "2024-05-31T00:00:00Z",
    ]


def test_a_leap_day_comes_back_in_leap_years_alone() -> None:
    yearly = schedule("12O", "2096-02-29")
    assert [time[:10] for time in first_grid_times(yearly, 9)] == [
        "2096-02-29",
        "2097-02-28",
        "2098-02-28",
        "2099-02-28",
        "2100-02-28",
        "2101-02-28",
        "2102-02-28",
        "2103-02-28",
        "2104-02-29",
    ]


@pytest.mark.parametrize("every", ["1D", "1W", "1O"])
def test_days_weeks_and_months_keep_the_time_of_day_when_clocks_change(every: str) -> None:
    through_summer = schedule(every, "2026-01-01T09:00+01:00", BERLIN)
    walls = {
        time.astimezone(BERLIN).strftime("%H:%M")
        for time in islice(through_summer.grid(through_summer.start_at), 300)
    }
    assert walls == {"09:00"}


def test_hours_are_absolute_when_clocks_change() -> None:
    every_day_of_hours = schedule("24H", "2026-03-28T09:00+01:00", BERLIN)
    assert first_grid_times(every_day_of_hours, 2) == [
        "2026-03-28T08:00:00Z",
        "2026-03-29T08:00:00Z",
    ]


def test_a_time_that_does_not_exist_is_read_with_the_offset_before_the_gap() -> None:
    at_half_past_two = schedule("1D", "2026-03-28T02:30+01:00", BERLIN)
    assert first_grid_times(at_half_past_two, 3) == [
        "2026-03-28T01:30:00Z",
        "2026-03-29T01:30:00Z",  # 03:30 in summer time
        "2026-03-30T00:30:00Z",
    ]


def test_of_a_time_that_exists_twice_the_first_counts() -> None:
    at_half_past_two = schedule("1D", "2026-10-24T02:30+02:00", BERLIN)
    assert first_grid_times(at_half_past_two, 3) == [
        "2026-10-24T00:30:00Z",
        "2026-10-25T00:30:00Z",
        "2026-10-26T01:30:00Z",
    ]


def test_a_start_that_is_the_second_of_its_kind_stays_the_start() -> None:
    at_half_past_two = schedule("1D", "2026-10-25T02:30+01:00", BERLIN)
    assert first_grid_times(at_half_past_two, 2) == [
        "2026-10-25T01:30:00Z",
        "2026-10-26T01:30:00Z",
    ]


def test_a_start_that_is_the_second_of_its_kind_does_not_make_later_ones_second() -> None:
    every_six_years = schedule("72O", "2020-10-25T02:30+01:00", BERLIN)
    assert first_grid_times(every_six_years, 2) == ["2020-10-25T01:30:00Z", "2026-10-25T00:30:00Z"]


def test_a_day_that_a_zone_left_out_makes_no_second_run() -> None:
    # Samoa went from the 29th to the 31st of December 2011.
    daily = schedule("1D", "2011-12-29T10:00-10:00", ZoneInfo("Pacific/Apia"))
    assert first_grid_times(daily, 3) == [
        "2011-12-29T20:00:00Z",
        "2011-12-30T20:00:00Z",
        "2011-12-31T20:00:00Z",
    ]


@pytest.mark.parametrize("every", ["360M", "6H"])
def test_disallowed_weekdays_are_skipped_and_the_grid_does_not_shift(every: str) -> None:
    quarter_days = schedule(every, "2026-01-02T05:00", allowed_weekdays=ALL_WEEKDAYS - WEEKEND)
    assert runs(quarter_days, "2026-01-02T16:00", "2026-01-05T06:00") == [
        "2026-01-02T17:00:00Z",
        "2026-01-02T23:00:00Z",
        "2026-01-05T05:00:00Z",
    ]


@pytest.mark.parametrize("every", ["1W", "1O"])
def test_weekdays_have_no_say_over_weeks_and_months(every: str) -> None:
    never_allowed = schedule(every, "2026-01-03", allowed_weekdays=frozenset())
    assert first_grid_times(never_allowed, 1) == ["2026-01-03T00:00:00Z"]
    assert next_run(never_allowed, "2026-01-02") == "2026-01-03T00:00:00Z"


def test_the_weekday_is_that_of_the_servers_zone() -> None:
    # 23:30 on Friday in UTC is Saturday in Berlin.
    daily = schedule("1D", "2026-01-02T23:30", BERLIN, allowed_weekdays=WEEKEND)
    assert runs(daily, "2026-01-01", "2026-01-09") == [
        "2026-01-02T23:30:00Z",
        "2026-01-03T23:30:00Z",
    ]


@pytest.mark.parametrize("every", ["1440M", "24H", "1D", "1W", "1O"])
def test_windows_apply_to_every_unit(every: str) -> None:
    at_noon = schedule(every, "2026-01-01T12:00", disable_times=(window("all", "11:00", "13:00"),))
    assert next_run(at_noon, "2025-01-01") is None


def test_a_window_holds_its_start_and_not_its_end() -> None:
    hourly = schedule("1H", "2026-01-01", disable_times=(window("all", "01:00", "23:00"),))
    assert runs(hourly, "2026-01-01", "2026-01-02") == [
        "2026-01-01T23:00:00Z",
        "2026-01-02T00:00:00Z",
    ]


def test_a_window_through_midnight_belongs_to_the_day_it_starts_on() -> None:
    # The 4th of January 2026 is a Sunday.
    hourly = schedule("1H", "2026-01-01", disable_times=(window("sunday", "02:00", "01:00"),))
    assert runs(hourly, "2026-01-03T23:30", "2026-01-05T02:00") == [
        "2026-01-04T00:00:00Z",
        "2026-01-04T01:00:00Z",
        "2026-01-05T01:00:00Z",
        "2026-01-05T02:00:00Z",
    ]


def test_a_window_may_last_a_whole_day() -> None:
    hourly = schedule("1H", "2026-01-01", disable_times=(window("sunday", "00:00", "24:00"),))
    assert next_run(hourly, "2026-01-03T23:30") == "2026-01-05T00:00:00Z"


def test_a_window_is_as_long_as_the_wall_clock_takes_to_pass_it() -> None:
    half_hourly = schedule(
        "30M", "2026-10-25T00:00+02:00", BERLIN, disable_times=(window("all", "02:00", "03:00"),)
    )
    before, after = "2026-10-24T23:00Z", "2026-10-25T02:00Z"
    assert runs(half_hourly, before, after) == ["2026-10-24T23:30:00Z", "2026-10-25T02:00:00Z"]


def test_a_minute_that_is_open_again_when_clocks_are_put_back_is_not_missed() -> None:
    # Open from 02:00 to 02:10 alone, which in this night comes twice.
    every_minute = schedule(
        "10M", "2026-10-24T00:00Z", BERLIN, disable_times=(window("all", "02:10", "02:00"),)
    )
    assert runs(every_minute, "2026-10-24T12:00Z", "2026-10-26T12:00Z") == [
        "2026-10-25T00:00:00Z",
        "2026-10-25T01:00:00Z",
        "2026-10-26T01:00:00Z",
    ]
    assert next_run(every_minute, "2026-10-25T00:00Z") == "2026-10-25T01:00:00Z"


def test_a_run_moved_out_of_its_window_by_a_gap_takes_place() -> None:
    # 02:30 is disabled; on the one Sunday in March it is read as 03:30, which is not.
    weekly = schedule(
        "1W", "2026-01-04T02:30+01:00", BERLIN, disable_times=(window("all", "02:00", "03:00"),)
    )
    assert next_run(weekly, "2026-01-01") == "2026-03-29T01:30:00Z"


@pytest.mark.parametrize("every", ["1M", "7M", "9997H", "1D"])
def test_a_schedule_that_can_never_run_says_so(every: str) -> None:
    assert (
        next_run(schedule(every, "2026-01-01", allowed_weekdays=frozenset()), "2026-01-01") is None
    )


@pytest.mark.parametrize("every", ["2M", "2H", "2D", "2W", "2O", "9999H", "9999D", "9999O"])
def test_a_schedule_that_always_meets_a_window_never_runs(every: str) -> None:
    but_for_one_odd_minute = (window("all", "00:00", "13:01"), window("all", "13:02", "24:00"))
    even = schedule(every, "2026-01-01", BERLIN, disable_times=but_for_one_odd_minute)
    assert next_run(even, "2026-01-01") is None


def test_a_run_once_in_a_lifetime_is_found() -> None:
    # 9997 minutes have no factor in common with the week: each minute of it comes round once.
    rare = schedule(
        "9997M",
        "2026-01-01",
        allowed_weekdays=frozenset({Weekday.MONDAY}),
        disable_times=(window("all", "00:01", "24:00"),),
    )
    found = times.parse(next_run(rare, "2026-01-01") or "")
    assert (found.weekday(), found.hour, found.minute) == (0, 0, 0)
    assert (found - rare.start_at) % timedelta(minutes=9997) == timedelta(0)


def test_a_schedule_of_a_century_ago_answers_as_one_of_today() -> None:
    old = schedule("1M", "1900-01-01")
    assert next_run(old, "2026-01-01T12:00:30") == "2026-01-01T12:01:00Z"
    assert runs(old, "2026-01-01", "2026-01-01T00:01") == ["2026-01-01T00:01:00Z"]


@pytest.mark.parametrize("every", ["9999M", "9999H", "9999D", "9999W", "9999O"])
def test_the_end_of_the_calendar_ends_every_grid(every: str) -> None:
    endless = schedule(every, "2026-01-01", ZoneInfo("Pacific/Kiritimati"))
    assert list(endless.grid(times.LATEST)) == []
    assert len(list(endless.grid(times.parse("8999-12-01T00:00Z")))) < 10


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue"])
@pytest.mark.parametrize("start_at", [times.EARLIEST, times.LATEST])
def test_every_time_that_the_wire_lets_in_can_be_a_start(zone: str, start_at: datetime) -> None:
    for unit in Unit:
        extreme = Schedule(
            every_unit=unit, every_how_many=9999, start_at=start_at, zone=ZoneInfo(zone)
        )
        extreme.next_run(times.EARLIEST)
        assert extreme.next_run(times.LATEST) is None


def test_after_downtime_the_latest_missed_run_is_due_while_the_grid_has_no_other() -> None:
    hourly = schedule("1H", "2026-01-01")
    enabled = times.parse("2026-01-01T00:30")
    late = times.parse("2026-01-05T12:59")
    assert hourly.due_run(late, not_before=enabled) == times.parse("2026-01-05T12:00")


def test_a_missed_run_older_than_the_interval_is_not_made_up_for() -> None:
    hourly = schedule("1H", "2026-01-01", disable_times=(window("all", "12:00", "14:00"),))
    last = times.parse("2026-01-05T11:00")
    assert hourly.due_run(times.parse("2026-01-05T11:59"), not_before=last) == last
    assert hourly.due_run(times.parse("2026-01-05T12:00"), not_before=last) is None
    assert hourly.latest_run(times.parse("2026-01-05T13:59"), not_before=last) == last


def test_nothing_is_due_for_a_time_before_it_was_enabled() -> None:
    daily = schedule("1D", "2026-01-01")
    enabled, now = times.parse("2026-01-05T00:01"), times.parse("2026-01-05T12:00")
    assert daily.due_run(now, not_before=enabled) is None
    assert daily.latest_run(now, not_before=enabled) is None


def test_nothing_is_due_before_the_start() -> None:
    assert (
        schedule("1D", "2026-01-02").due_run(times.parse("2026-01-01"), not_before=times.EARLIEST)
        is None
    )


def test_the_last_run_is_made_up_for_after_the_end_but_not_an_interval_after_it() -> None:
    daily = schedule("1D", "2026-01-01", end="2026-01-03")
    last = times.parse("2026-01-03")
    assert daily.due_run(times.parse("2026-01-03T23:59"), not_before=last) == last
    assert daily.due_run(times.parse("2026-01-04"), not_before=last) is None


def test_units_are_ordered_by_length() -> None:
    assert sorted(["O", "M", "W", "H", "D"], key=lambda letter: Unit(letter).rank) == [
        "M",
        "H",
        "D",
        "W",
        "O",
    ]


@pytest.mark.parametrize("every_how_many", [0, -1, 10_000])
def test_an_interval_out_of_range_is_refused(every_how_many: int) -> None:
    with pytest.raises(ValueError, match="1 to 9999"):
        schedule(f"{every_how_many}D", "2026-01-01")
