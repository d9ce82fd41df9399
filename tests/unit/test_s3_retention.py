"""Copies in S3 go when both what is set about them says so."""

from datetime import UTC, datetime, timedelta

import pytest

from cpm.kernel.s3_retention import Copied, Keep, expired

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


def daily(count: int, **columns: object) -> list[Copied]:
    """A run a day, the newest today, with the highest id."""
    return [
        Copied(
            id=count - age,
            run=age,
            started_at=NOW - timedelta(days=age),
            **{"is_whole": True, **columns},  # type: ignore[arg-type]
        )
        for age in range(count)
    ]


@pytest.mark.parametrize(
    ("generations", "duration", "unit", "gone"),
    [
        (None, None, "W", 0),
        (3, None, "W", 37),
        (50, None, "W", 0),
        (None, 1, "W", 32),
        (None, 2, "W", 25),
        # The last of March less a month is the last of February.
        (None, 1, "M", 8),
        (None, 1, "Y", 0),
        (None, 9999, "Y", 0),
        (3, 1, "W", 32),
        (20, 1, "W", 20),
    ],
)
def test_what_goes(generations: int | None, duration: int | None, unit: str, gone: int) -> None:
    going = expired(daily(40), Keep(generations, duration, unit), NOW)
    assert going == list(range(gone, 0, -1))


def test_what_was_copied_in_part_or_is_frozen_is_no_generation() -> None:
    whole = daily(4)
    partial = [*whole[1:], *daily(1, is_whole=False)]
    assert expired(whole, Keep(1, None, "W"), NOW) == [3, 2, 1]
    assert expired(partial, Keep(1, None, "W"), NOW) == [2, 1]
    frozen = daily(3, is_frozen=True)
    assert expired(frozen, Keep(1, None, "W"), NOW) == []


def test_a_record_and_its_retry_are_one_generation() -> None:
    first = Copied(id=1, run="a", started_at=NOW - timedelta(days=3), is_whole=False)
    again = Copied(id=2, run="a", started_at=NOW - timedelta(days=2), is_whole=True)
    newer = Copied(id=3, run="b", started_at=NOW - timedelta(days=1), is_whole=True)
    assert expired([first, again, newer], Keep(2, None, "W"), NOW) == []
    assert expired([first, again, newer], Keep(1, None, "W"), NOW) == [2, 1]
