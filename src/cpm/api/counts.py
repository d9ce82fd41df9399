"""How many rows a list has, without counting large ones again for every page."""

import threading
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet

from cpm.kernel import clock

# Below this, counting costs so little that it is always done; above, nobody counts along.
_LARGE = 10_000
_GOOD_FOR_SECONDS = 5.0
_MOST_KEPT = 1000

_kept: dict[tuple[str, tuple[Any, ...]], tuple[float, int]] = {}
_lock = threading.Lock()


def of(rows: QuerySet[Any]) -> int:
    """The number of rows; of large lists it may be a few seconds old."""
    rows = rows.order_by()
    try:
        sql, parameters = rows.query.sql_with_params()
    except EmptyResultSet:
        return 0
    key = (sql, tuple(map(str, parameters)))
    now = clock.monotonic()
    counted_at, count = _kept.get(key, (float("-inf"), 0))
    if now - counted_at < _GOOD_FOR_SECONDS:
        return count
    count = rows.count()
    if count >= _LARGE:
        _keep(key, now, count)
    return count


def _keep(key: tuple[str, tuple[Any, ...]], now: float, count: int) -> None:
    with _lock:
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[key] = (now, count)
