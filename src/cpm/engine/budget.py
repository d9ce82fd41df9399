"""The API budget of all workers together: one row for each account, region and operation.

A bucket is kept as the time at which it will have been emptied (the GCRA algorithm), so that one
UPDATE takes a slot and tells how long to wait for it. The database's clock is used: machines whose
clocks differ would take from each other's future. See `cpm.aws.budget` for the rates.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models.functions import Now
from psycopg.errors import LockNotAvailable

from cpm.aws.budget import LESSON_SECONDS, RECOVERY_SECONDS, Rate, halved, learnt, published
from cpm.models.budgets import ApiBudget

# A slot is taken here before the call arrives there, where a full bucket gains nothing meanwhile:
# of a burst, the last calls wait for so long.
LATENESS_SECONDS = 0.5
_LOCK_TIMEOUT = "200ms"

# The rate now: what the last throttle brought it down to, and what quiet has restored since.
_RATE = f"""\
LEAST(%(full)s, b.per_second + %(full)s * COALESCE(
    EXTRACT(EPOCH FROM t.now - b.throttled_at)::float8, 'infinity') / {RECOVERY_SECONDS})"""

_WAIT_SECONDS = "EXTRACT(EPOCH FROM b.spent_until - t.now)::float8 - %(tolerance)s"

# Only names of this module and constants go into the statements; values are parameters.
_RESERVE = f"""\
UPDATE cpm_apibudget AS b
SET spent_until = GREATEST(b.spent_until, t.now) + make_interval(secs => %(tokens)s / ({_RATE}))
FROM (SELECT clock_timestamp() AS now) AS t
WHERE b.key = %(key)s AND {_WAIT_SECONDS} <= %(patience)s
RETURNING {_WAIT_SECONDS} - %(tokens)s / ({_RATE}), {_RATE}"""  # noqa: S608

_WAIT = f"""\
SELECT {_WAIT_SECONDS} FROM cpm_apibudget AS b, (SELECT clock_timestamp() AS now) AS t
WHERE b.key = %(key)s"""  # noqa: S608

_CREATE = """\
INSERT INTO cpm_apibudget (key, spent_until, per_second, burst)
VALUES (%(key)s, clock_timestamp(), %(full)s, %(burst)s) ON CONFLICT DO NOTHING"""


Values = dict[str, float | str]


class SharedBudget:
    """The `cpm.aws.budget.Budget` that all processes on one database share."""

    def reserve(
        self,
        account: str,
        region: str,
        operation: str,
        *,
        tokens: int = 1,
        patience_seconds: float = math.inf,
    ) -> float:
        """See `Budget`."""
        values = {**_values(account, region, operation, tokens), "patience": patience_seconds}
        try:
            with _connected():
                wait, _ = _take(values)
        except OperationalError as error:
            if isinstance(error.__cause__, LockNotAvailable):
                return 0.0
            raise
        return max(0.0, wait)

    def reserve_each(
        self, account: str, region: str, operation: str, calls: int
    ) -> Sequence[float]:
        """See `Budget`."""
        values = {**_values(account, region, operation), "tokens": calls, "patience": math.inf}
        first, per_second = _take(values)
        return [max(0.0, first + number / per_second) for number in range(calls)]

    def throttled(self, account: str, region: str, operation: str) -> None:
        """See `Budget`."""
        values = _values(account, region, operation)
        with _connected(), transaction.atomic():
            _run(_CREATE, values)
            row = ApiBudget.objects.select_for_update().annotate(now=Now()).get(key=values["key"])
            _learn(row, row.now, _rate(operation))


@contextmanager
def _connected() -> Iterator[None]:
    """A connection, which threads that only call AWS do not keep.

    These wait for nobody's transaction: it may be one that waits for them.
    """
    if connection.connection is not None:
        yield
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", [_LOCK_TIMEOUT])
        yield
    finally:
        connection.close()


def _take(values: Values) -> tuple[float, float]:
    """The seconds until one's slot, which may be past, and the rate; none is taken if too far."""
    while (taken := _numbers(_RESERVE, values)) is None:
        wait = _numbers(_WAIT, values)
        if wait is None:
            _run(_CREATE, values)
        elif wait[0] > float(values["patience"]):
            return wait[0], 0.0
        # Else somebody has made the bucket just now: its slots have yet to be taken.
    return taken[0], taken[1]


def _learn(row: ApiBudget, now: datetime, full: Rate) -> None:
    quiet_seconds = math.inf
    if row.throttled_at is not None:
        quiet_seconds = (now - row.throttled_at).total_seconds()
    if quiet_seconds < LESSON_SECONDS:
        return
    rate = learnt(row.per_second, full.per_second, quiet_seconds)
    row.per_second = halved(rate, full.per_second)
    row.throttled_at = now
    # AWS's bucket is empty, whatever ours said.
    emptied = now + timedelta(seconds=full.tolerance_seconds() + 1 / row.per_second)
    row.spent_until = max(row.spent_until, emptied)
    row.save(update_fields=["per_second", "throttled_at", "spent_until"])


def _values(account: str, region: str, operation: str, tokens: int = 1) -> Values:
    full = _rate(operation)
    return {
        "key": f"{account}/{region}/{operation}",
        "full": full.per_second,
        "burst": full.burst,
        "tokens": tokens,
        "tolerance": max(0.0, full.tolerance_seconds(tokens) - LATENESS_SECONDS),
    }


def _rate(operation: str) -> Rate:
    return published(operation).share(settings.ENVIRONMENT.aws_budget_share)


def _run(statement: str, values: Values) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def _numbers(statement: str, values: Values) -> list[float] | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row = cursor.fetchone()
    return None if row is None else list(map(float, row))
