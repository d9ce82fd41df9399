"""The one source of time: everything that asks what time it is, or waits, asks here.

Times are aware and in UTC. A test moves the wall clock with `set_offset`; a whole fleet of
processes follows the file named by `CPM_CLOCK_OFFSET_FILE`, which holds seconds to add.
"""

import os
import threading
import time as _time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

_offset = timedelta()


def now() -> datetime:
    """The current wall-clock time, aware, in UTC."""
    return datetime.now(UTC) + _current_offset()


def monotonic() -> float:
    """Seconds on a clock that never goes back; only differences mean anything."""
    return _time.monotonic()


def sleep(seconds: float) -> None:
    """Block this thread for `seconds`."""
    _time.sleep(seconds)


def set_offset(offset: timedelta) -> None:
    """Shift `now()` in this process by `offset`."""
    global _offset  # noqa: PLW0603 - the clock is the process's one piece of global state
    _offset = offset


def wait_until(
    condition: Callable[[], bool],
    *,
    timeout_seconds: float,
    interval_seconds: float = 0.05,
    stop: threading.Event | None = None,
) -> bool:
    """Poll `condition` until it holds; False when the time is up or `stop` is set first."""
    deadline = monotonic() + timeout_seconds
    while not condition():
        if monotonic() >= deadline or (stop is not None and stop.is_set()):
            return False
        sleep(interval_seconds)
    return True


def _current_offset() -> timedelta:
    path = os.environ.get("CPM_CLOCK_OFFSET_FILE")
    if not path:
        return _offset
    try:
        return _offset + timedelta(seconds=float(Path(path).read_text()))
    except (OSError, ValueError):
        return _offset
