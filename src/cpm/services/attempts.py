"""Bad attempts to prove who one is, counted in the database so that all processes count together.

Of keys and tokens only bad ones are limited: they cannot be guessed, so whoever has a good one is
let in whatever others do from the same address. Passwords can.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from cpm.kernel import clock
from cpm.models.users import BadAttempt


class TooMany(Exception):
    """The limit of bad attempts is passed; it is worth nothing to try before that many seconds."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Limit:
    """How many bad attempts of one kind are let pass in a window that begins with the first.

    Of one that `bars`, a new window begins with the last that is let pass: until its end nobody
    gets in, whatever he has, if only everybody who may get in asks `require_open` first.
    """

    scope: str
    most: int
    window_seconds: int
    bars: bool = False

    def count_bad(self, subject: str) -> None:
        """Count one more of `subject`; raises `TooMany` beyond the limit."""
        now = clock.now()
        oldest = now - timedelta(seconds=self.window_seconds)
        begins_anew_at = self.most if self.bars else None
        with connection.cursor() as cursor:
            cursor.execute(_COUNT, [self.scope, subject[:255], now, oldest, oldest, begins_anew_at])
            count, started_at = cursor.fetchone()
        if count > self.most:
            raise self._too_many(started_at)

    def require_open(self, subject: str) -> None:
        """Raise `TooMany` as long as `subject` is barred."""
        rows = BadAttempt.objects.filter(scope=self.scope, subject=subject[:255])
        begun_after = clock.now() - timedelta(seconds=self.window_seconds)
        barred = rows.filter(count__gte=self.most, window_started_at__gt=begun_after).first()
        if barred is not None:
            raise self._too_many(barred.window_started_at)

    def _too_many(self, started_at: datetime) -> TooMany:
        left = self.window_seconds - (clock.now() - started_at).total_seconds()
        return TooMany(max(1, round(left)))


_COUNT = """
    INSERT INTO cpm_badattempt AS old (scope, subject, window_started_at, count)
    VALUES (%s, %s, %s, 1)
    ON CONFLICT (scope, subject) DO UPDATE SET
        count = CASE WHEN old.window_started_at > %s THEN LEAST(old.count + 1, 1000000) ELSE 1 END,
        window_started_at = CASE
            WHEN old.window_started_at > %s AND old.count + 1 IS DISTINCT FROM %s
            THEN old.window_started_at ELSE excluded.window_started_at END
    RETURNING count, window_started_at
"""
