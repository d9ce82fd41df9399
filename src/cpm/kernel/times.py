"""Times on the wire: read generously, written in one form.

Four-digit years are what every client, Python and PostgreSQL all hold. The bounds are a little
tighter, so that no time zone can carry a time that was let in past what a `datetime` holds.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from fractions import Fraction

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC)

_MOMENT = re.compile(
    r"(?P<date>[0-9W-]+)"
    r"(?:[Tt ](?P<hour>[0-9]{2})"
    r"(?:(?P<colon>:?)(?P<minute>[0-9]{2})(?:(?P=colon)(?P<second>[0-9]{2}))?)?"
    r"(?:[.,](?P<fraction>[0-9]+))?"
    r"(?P<zone>[Zz]|(?P<sign>[+-])(?P<zone_hours>[0-9]{2})(?::?(?P<zone_minutes>[0-9]{2}))?)?)?"
)
_ORDINAL_DATE = re.compile(r"(?P<year>[0-9]{4})-?(?P<day>[0-9]{3})")


def parse(text: str) -> datetime:
    """The time that an ISO 8601 text means, in UTC, cut to the second.

    Without a zone it is UTC; a date alone is its midnight. Raises ValueError for what is no time,
    and for times before `EARLIEST` or after `LATEST`.
    """
    match = _MOMENT.fullmatch(text.strip())
    if not match:
        raise ValueError("not an ISO 8601 time")
    try:
        local = datetime.combine(_date(match["date"]), datetime.min.time(), _zone(match))
        moment = (local + _time_of_day(match)).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("no such year") from error
    if not EARLIEST <= moment <= LATEST:
        raise ValueError(f"not between {to_wire(EARLIEST)} and {to_wire(LATEST)}")
    return moment


def to_wire(moment: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ`, of one width whatever the year; raises ValueError without a zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is no moment")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def has_passed(interval: timedelta, since: str | None, now: datetime) -> bool:
    """Whether so much time has passed since a time on the wire; so it has where there is none.

    A time that is yet to come was told by a clock that was ahead, and does not count.
    """
    last = parse(since) if since else None
    return last is None or not last <= now < last + interval


def _date(text: str) -> date:
    ordinal = _ORDINAL_DATE.fullmatch(text)
    if not ordinal:
        return date.fromisoformat(text)
    day = date(int(ordinal["year"]), 1, 1) + timedelta(days=int(ordinal["day"]) - 1)
    if day.year != int(ordinal["year"]):
        raise ValueError("no such day of the year")
    return day


def _time_of_day(match: re.Match[str]) -> timedelta:
    hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    if hour > 24 or minute > 59 or second > 59:
        raise ValueError("no such time of day")
    time = timedelta(hours=hour, minutes=minute, seconds=second + _fraction_seconds(match))
    if time > timedelta(days=1):
        raise ValueError("no such time of day")
    return time


def _fraction_seconds(match: re.Match[str]) -> int:
    """The whole seconds in a fraction, which is one of the smallest unit that was written."""
    unit_seconds = 1 if match["second"] else 60 if match["minute"] else 3600
    return int(Fraction(f"0.{match['fraction'] or 0}") * unit_seconds)


def _zone(match: re.Match[str]) -> timezone:
    if not match["sign"]:
        return UTC
    hours, minutes = int(match["zone_hours"]), int(match["zone_minutes"] or 0)
    if minutes > 59:
        raise ValueError("no such offset")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if match["sign"] == "-" else offset)
