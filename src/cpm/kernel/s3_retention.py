"""Which records of a policy lose their copies in S3.

A copy goes when it is beyond the generations that are kept, and older than the time for which it
is kept. What is not set has no say; where neither is, copies stay for ever. As in
`cpm.kernel.retention`, a record and its retries are one run and one generation, which counts when
all of it was copied.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cpm.kernel.schedule import add_months

_MONTHS = {"M": 1, "Y": 12}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What decides about the copies of a backup record; it has some that nobody wants away."""

    id: int
    run: Hashable
    started_at: datetime
    is_whole: bool
    is_frozen: bool = False
    is_in_progress: bool = False


@dataclass(frozen=True, slots=True)
class Keep:
    """What a policy keeps: so many generations, and what is not older than a duration.

    The unit is weeks, months or years of the calendar (W, M, Y).
    """

    generations: int | None
    duration: int | None
    unit: str

    def oldest(self, now: datetime) -> datetime | None:
        """What has begun before this is older than the duration."""
        if self.duration is None:
            return None
        try:
            if self.unit in _MONTHS:
                return add_months(now, -self.duration * _MONTHS[self.unit])
            return now - timedelta(weeks=self.duration)
        except (OverflowError, ValueError):  # before the calendar begins
            return datetime.min.replace(tzinfo=now.tzinfo)


def expired(records: Iterable[Copied], keep: Keep, now: datetime) -> list[int]:
    """The records of a policy whose copies are to go now, the newest first."""
    oldest = keep.oldest(now)
    if keep.generations is None and oldest is None:
        return []
    runs: dict[Hashable, list[Copied]] = {}
    for record in sorted(records, key=lambda each: (each.started_at, each.id)):
        runs.setdefault(record.run, []).append(record)
    gone, generations = [], 0
    for run in reversed(runs.values()):
        is_beyond = keep.generations is None or generations >= keep.generations
        is_old = oldest is None or run[0].started_at < oldest
        if is_beyond and is_old:
            gone += [each.id for each in reversed(run) if _may_go(each)]
        generations += any(each.is_whole and not each.is_frozen for each in run)
    return gone


def _may_go(record: Copied) -> bool:
    return not record.is_frozen and not record.is_in_progress
