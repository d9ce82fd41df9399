"""Bad attempts to prove who one is, counted in the database so that all processes count together.

Only bad ones are counted and limited: keys and tokens cannot be guessed, so whoever has a good one
is let in whatever others do from the same address.
"""

from dataclasses import dataclass
from datetime import timedelta

from django.db import connection

from cpm.kernel import clock


class TooMany(Exception):
    """The limit of bad attempts is passed; it is worth nothing to try before that many seconds."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Limit:
    """How many bad attempts of one kind are let pass in a window that begins with the first."""

    scope: str
    most: int
    window_seconds: int

    def count_bad(self, subject: str) -> None:
        """Count one more of `subject`; raises `TooMany` beyond the limit."""
        now = clock.now()
        oldest = now - timedelta(seconds=self.window_seconds)
        with connection.cursor() as cursor:
            cursor.execute(_COUNT, [self.scope, subject[:255], now, oldest, oldest])
            count, started_at = cursor.fetchone()
        if count > self.most:
            left = self.window_seconds - (now - started_at).total_seconds()
            raise TooMany(max(1, round(left)))


_COUNT = """
    INSERT INTO cpm_badattempt AS old (scope, subject, window_started_at, count)
    VALUES (%s, %s, %s, 1)
    ON CONFLICT (scope, subject) DO UPDATE SET
        count = CASE WHEN old.window_started_at > %s THEN LEAST(old.count + 1, 1000000) ELSE 1 END,
        window_started_at = CASE WHEN old.window_started_at > %s
            THEN old.window_started_at ELSE excluded.window_started_at END
    RETURNING count, window_started_at
"""
