"""The API budget of a worker machine: the server's, drawn in batches."""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from cpm.aws.budget import published
from cpm.kernel import clock
from cpm.machine.server import Server
from cpm.machine.wire import Calls, Granted, Place

# A batch lasts for so long at the published rate: four requests to the server in a second.
_BATCH_SECONDS = 0.25


@dataclass
class _Purse:
    """Calls that may be made, the first of them at a time of the monotonic clock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    tokens: int = 0
    ready_at: float = 0.0


class DrawnBudget:
    """The `cpm.aws.budget.Budget` of one process of a machine. Thread-safe."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._purses: dict[tuple[str, str, str], _Purse] = {}

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
        purse = self._purse(account, region, operation)
        with purse.lock:
            if purse.tokens < tokens:
                place = Place(account=account, region=region)
                granted = self._draw(place, operation, tokens, min(patience_seconds, 3600.0))
                if not granted.tokens:
                    return granted.wait_seconds
                purse.tokens += granted.tokens
                purse.ready_at = clock.monotonic() + granted.wait_seconds
            purse.tokens -= tokens
            return max(0.0, purse.ready_at - clock.monotonic())

    def reserve_each(
        self, account: str, region: str, operation: str, calls: int
    ) -> Sequence[float]:
        """See `Budget`."""
        return [self.reserve(account, region, operation) for _ in range(calls)]

    def throttled(self, account: str, region: str, operation: str) -> None:
        """See `Budget`."""
        purse = self._purse(account, region, operation)
        with purse.lock:
            purse.tokens = 0
        place = Place(account=account, region=region)
        self._server.ask("throttled", Calls(place=place, operation=operation), Granted)

    def _draw(self, place: Place, operation: str, tokens: int, patience: float) -> Granted:
        batch = max(tokens, int(published(operation).per_second * _BATCH_SECONDS))
        wanted = Calls(place=place, operation=operation, tokens=batch, patience_seconds=patience)
        return self._server.ask("budget", wanted, Granted)

    def _purse(self, account: str, region: str, operation: str) -> _Purse:
        with self._lock:
            return self._purses.setdefault((account, region, operation), _Purse())
