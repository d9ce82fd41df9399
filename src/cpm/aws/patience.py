"""Trying again what may be tried again, later and later, and not all at the same moment."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cpm.kernel import clock
from cpm.kernel.faults import Fault, FaultKind

T = TypeVar("T")

_PASSING = (FaultKind.THROTTLED, FaultKind.TRANSIENT, FaultKind.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to try, and how long to wait at most before the second try and before any."""

    attempts: int = 8
    first_seconds: float = 0.2
    most_seconds: float = 30.0

    def seconds(self, attempt: int, wish_seconds: float | None) -> float:
        """How long to wait after this attempt (from 1): by chance, and at least what AWS wishes."""
        most = min(self.most_seconds, self.first_seconds * 2 ** (attempt - 1))
        drawn = random.uniform(0, most)  # noqa: S311 - chance, not secrecy
        return max(drawn, min(wish_seconds or 0.0, 2 * self.most_seconds))


def never() -> bool:
    """Of work that nobody stops."""
    return False


def patiently(
    call: Callable[[], T],
    *,
    patience: Patience = Patience(),
    should_stop: Callable[[], bool] = never,
    passing: tuple[FaultKind, ...] = _PASSING,
) -> T:
    """The result of a call that does no harm when it is made again; raises its last Fault."""
    attempt = 1
    while True:
        try:
            return call()
        except Fault as fault:
            if fault.kind not in passing or attempt >= patience.attempts or should_stop():
                raise
            clock.sleep(patience.seconds(attempt, fault.retry_after_seconds))
            attempt += 1
