"""How many rows a list has, without counting large ones again for every page."""

import threading

from cpm.api import rows as read
from cpm.api import statements
from cpm.api.statements import Rows
from cpm.kernel import clock

# Below this, counting costs so little that it is always done; above, nobody counts along.
_LARGE = 10_000
_GOOD_FOR_SECONDS = 5.0
_MOST_KEPT = 1000

_kept: dict[Rows, tuple[float, int]] = {}
_lock = threading.Lock()


def of(rows: Rows) -> int:
    """The number of rows; of large lists it may be a few seconds old."""
    now = clock.monotonic()
    counted_at, count = _kept.get(rows, (float("-inf"), 0))
    if now - counted_at < _GOOD_FOR_SECONDS:
        return count
    ((counted,),) = read.few(statements.count(rows))
    count = int(counted)
    if count >= _LARGE and rows.is_kept:
        _keep(rows, now, count)
    return count


def _keep(rows: Rows, now: float, count: int) -> None:
    with _lock:
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[rows] = (now, count)
