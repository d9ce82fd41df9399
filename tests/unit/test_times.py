"""Times as clients send them and as they are sent back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpm.kernel import times

NOON = datetime(2018, 8, 1, 12, tzinfo=UTC)

moments = st.datetimes(
    times.EARLIEST.replace(tzinfo=None), times.LATEST.replace(tzinfo=None), timezones=st.just(UTC)
)
zones = st.builds(
    timezone, st.integers(-1439, 1439).map(lambda minutes: timedelta(minutes=minutes))
)


@pytest.mark.parametrize(
    "text",
    [
        "2018-08-01T12:00:00Z",
        "2018-08-01T12:00:00",
        "2018-08-01T12:00:00.000000Z",
        "2018-08-01T12:00:00.999999999Z",
        "2018-08-01T12:00:00,5",
        "2018-08-01T14:00:00+02:00",
        "2018-08-01T14:00:00+0200",
        "2018-08-01T14:00+02",
        "2018-08-01T06:30:00-05:30",
        "2018-08-01 12:00:00",
        "2018-08-01t12:00:00z",
        "2018-08-01T12:00",
        "2018-08-01T12",
        "20180801T120000Z",
        "20180801T1200",
        "2018-W31-3T12:00",
        "2018W313T12",
        "2018-213T12:00",
        "2018213T12:00",
        "2018-08-01T12:00:00." + "9" * 40,
        " 2018-08-01T12:00:00Z\n",
    ],
)
def test_iso_8601_is_understood_in_all_its_forms(text: str) -> None:
    assert times.parse(text) == NOON


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("2018-08-01", "2018-08-01T00:00:00Z"),
        ("20180801", "2018-08-01T00:00:00Z"),
        ("2018-W31", "2018-07-30T00:00:00Z"),
        ("2020-366", "2020-12-31T00:00:00Z"),
        ("2018-12-31T24:00:00Z", "2019-01-01T00:00:00Z"),
        ("2018-08-01T12:00:59.999999Z", "2018-08-01T12:00:59Z"),
        ("2018-08-01T12:00.5Z", "2018-08-01T12:00:30Z"),
        ("2018-08-01T12,5Z", "2018-08-01T12:30:00Z"),
        ("1900-01-01T00:00:00Z", "1900-01-01T00:00:00Z"),
        ("9999-12-30T23:59:59Z", "9999-12-30T23:59:59Z"),
    ],
)
def test_a_time_means_what_iso_8601_says(text: str, wire: str) -> None:
    assert times.to_wire(times.parse(text)) == wire


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "now",
        "0",
        "1533124800",
        "2018",
        "2018-08",
        "2018-8-1",
        "2018-02-29",
        "2018-13-01",
        "2019-366",
        "2018-000",
        "2018-W54-1",
        "2018-W31-8",
        "2018-08-01T",
        "2018-08-01T25:00",
        "2018-08-01T24:00:01",
        "2018-08-01T12:60",
        "2018-08-01T12:00:60",
        "2018-08-01T12:0000",
        "2018-08-01T1200:00",
        "2018-08-01T12:00:00+25:00",
        "2018-08-01T12:00:00+02:60",
        "2018-08-01T12:00:00 +02:00",
        "2018-08-01T12:00:00ZZ",
        "2018-08-01T12:00:00.Z",
        "2018-08-01_12:00:00",
        "2018-08-01T12:00:00Z\0",
        "\uff12\uff10\uff11\uff18-08-01",
        "0000-01-01",
        "1899-12-31T23:59:59Z",
        "9999-12-31T00:00:00Z",
        "9999-12-31T24:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "+12018-08-01",
        "-2018-08-01",
        "Wed, 01 Aug 2018 12:00:00 GMT",
        "2018-08-01T12:00:00." + "9" * 10_000,
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        times.parse(text)


@given(st.text() | st.text("0123456789-:+TZW., ", max_size=30))
def test_whatever_is_sent_is_a_time_or_a_value_error(text: str) -> None:
    try:
        moment = times.parse(text)
    except ValueError:
        return
    assert times.EARLIEST <= moment <= times.LATEST
    assert moment.microsecond == 0
    assert moment.tzinfo is UTC


@given(moments)
def test_every_time_survives_the_wire_without_its_fraction(moment: datetime) -> None:
    assert times.parse(times.to_wire(moment)) == moment.replace(microsecond=0)


@given(moments, zones)
def test_a_time_is_the_same_in_every_zone(moment: datetime, zone: timezone) -> None:
    second = min(max(moment, NOON.replace(year=1901)), NOON).replace(microsecond=0)
    assert times.parse(second.astimezone(zone).isoformat()) == second


@given(moments, moments)
def test_times_on_the_wire_sort_as_texts(one: datetime, other: datetime) -> None:
    assert len(times.to_wire(one)) == len("2018-08-01T12:00:00Z")
    cut = [each.replace(microsecond=0) for each in (one, other)]
    assert (cut[0] < cut[1]) == (times.to_wire(one) < times.to_wire(other))


def test_a_time_without_a_zone_is_not_sent() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        times.to_wire(NOON.replace(tzinfo=None))


def test_what_comes_round_waits_for_its_interval_and_for_no_clock_that_was_ahead() -> None:
    hour, noon = timedelta(hours=1), datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert not times.has_passed(hour, "2026-03-01T12:00:00Z", noon)
    assert not times.has_passed(hour, "2026-03-01T11:00:01Z", noon)
    assert times.has_passed(hour, "2026-03-01T11:00:00Z", noon)
    assert times.has_passed(hour, None, noon)
    assert times.has_passed(hour, "2027-03-01T12:00:00Z", noon)
