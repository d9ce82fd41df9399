"""What has been called: counts by operation, account and region, and a log of the last calls."""

import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from cpm.simulator.operations import Operation

_CALLS_KEPT = 100_000
_DIMENSIONS = ("account", "region")


@dataclass(frozen=True)
class LoggedCall:
    """One call as it ended. `status` is 0 when the connection was cut instead of answered."""

    number: int
    at: datetime
    service: str
    operation: str
    account: str
    region: str
    status: int
    error: str | None

    def public(self) -> dict[str, Any]:
        """The call as JSON shows it."""
        return {**asdict(self), "at": self.at.isoformat()}


class Counts:
    """Counts calls as they arrive and logs them as they end; safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counter: Counter[tuple[str, str, str]] = Counter()
        self._calls: deque[LoggedCall] = deque(maxlen=_CALLS_KEPT)
        self._last_number = 0

    def arrived(self, operation: Operation, account: str) -> None:
        """Count one call."""
        with self._lock:
            self._counter[str(operation), account, operation.region] += 1

    def ended(
        self, at: datetime, operation: Operation, account: str, status: int, error: str | None
    ) -> None:
        """Log how a call ended that arrived `at`."""
        with self._lock:
            self._last_number += 1
            self._calls.append(
                LoggedCall(
                    number=self._last_number,
                    at=at,
                    service=operation.service,
                    operation=operation.name,
                    account=account,
                    region=operation.region,
                    status=status,
                    error=error,
                )
            )

    def reset(self) -> None:
        """Begin to count anew; the log of calls goes on."""
        with self._lock:
            self._counter.clear()

    def totals(self, by: tuple[str, ...] = ()) -> Any:
        """`{operation: n}`; with dimensions one row for each operation, account and region."""
        with self._lock:
            rows = list(self._counter.items())
        if not by:
            totals: Counter[str] = Counter()
            for (operation, _, _), count in rows:
                totals[operation] += count
            return dict(totals)
        return _rows(rows, by)

    def calls(self, since: int = 0) -> list[dict[str, Any]]:
        """The calls that ended after number `since`, oldest first."""
        with self._lock:
            return [call.public() for call in self._calls if call.number > since]


def dimensions(text: str) -> tuple[str, ...]:
    """The dimensions in `account,region`; raises ValueError for others."""
    names = tuple(name for name in text.split(",") if name)
    for name in names:
        if name not in _DIMENSIONS:
            raise ValueError(f"counts cannot be had by {name}, only by account and region")
    return names


def _rows(rows: list[tuple[tuple[str, str, str], int]], by: tuple[str, ...]) -> Any:
    totals: Counter[tuple[str, ...]] = Counter()
    for (operation, account, region), count in rows:
        values = {"account": account, "region": region}
        totals[(operation, *(values[name] for name in by))] += count
    return [
        {"op": key[0], **dict(zip(by, key[1:], strict=True)), "count": count}
        for key, count in sorted(totals.items())
    ]
