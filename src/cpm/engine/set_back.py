"""A clock that was ahead and is right again: what was put off by it is not waited for.

While it was ahead, all that is looked at again and again got its next time from it, and so did
schedules. A look too early does no harm, and when a schedule is due next can be said at any time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Manager

from cpm.engine import tick
from cpm.models.backups import Backup
from cpm.models.machines import WorkerMachine
from cpm.models.operations import Operation
from cpm.models.recoveries import Recovery
from cpm.models.s3_copies import S3Copy, S3CopyRange
from cpm.models.s3_restores import S3RestoreRange

# Clocks are kept right by small steps, which do not matter.
_STEP = timedelta(minutes=1)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)

# What is looked at again, the column that says when, and how far ahead that may be.
_LOOKS: Sequence[tuple[Manager[Any], str, timedelta]] = (
    (S3Copy.objects, "due_at", _HOUR),
    (S3CopyRange.objects, "due_at", _HOUR),
    (S3RestoreRange.objects, "due_at", _HOUR),
    (Backup.objects, "s3_due_at", _HOUR),
    (Backup.objects, "dr_due_at", _DAY),
    (Backup.objects, "due_at", _DAY),
    (Operation.objects, "due_at", _DAY),
    (Recovery.objects, "due_at", _DAY),
    (WorkerMachine.objects, "due_at", _DAY),
)


@dataclass
class _Seen:
    """The time at which this process has looked last, by the clock as it was then."""

    at: datetime | None = None


_seen = _Seen()


def look(now: datetime) -> None:
    """Bring forward what lies too far ahead, if the clock was set back, or this process is new."""
    if _seen.at is None:
        _bring_forward(now, schedules_after=now + _DAY)
    elif now < _seen.at - _STEP:
        _bring_forward(now, schedules_after=now)
    # Only now: what has failed is done by the next sweep.
    _seen.at = now


def _bring_forward(now: datetime, *, schedules_after: datetime) -> None:
    for rows, column, longest in _LOOKS:
        rows.filter(**{f"{column}__gt": now + longest}).update(**{column: now})
    tick.arm_after(schedules_after)
