"""Turns for calls that come by the thousand, reserved from the budget many at a time."""

import threading

from cpm.aws.sessions import PATIENCE_SECONDS, Aws
from cpm.kernel import clock
from cpm.kernel.faults import Fault, FaultKind

_MOST = 32
# A batch that takes longer than this is too large for what AWS grants at present.
_SLOW_SECONDS = 0.5


class Pace:
    """The turns of one operation in one account and region. Thread-safe.

    What has been reserved and is not used is lost, so batches grow only while they are used up
    without waiting.
    """

    def __init__(self, aws: Aws, operation: str) -> None:
        self._aws = aws
        self._operation = operation
        self._lock = threading.Lock()
        self._batch = 1
        self._left = 0
        self._begins_at = 0.0

    def take(self) -> None:
        """Wait for a turn; raises Fault (throttled) when it would take too long."""
        with self._lock:
            if self._left == 0:
                self._reserve()
            self._left -= 1
            wait = self._begins_at - clock.monotonic()
        if wait > 0:
            clock.sleep(wait)

    def throttled(self) -> None:
        """Learn that AWS has refused a call as too fast."""
        with self._lock:
            self._batch = 1
        aws = self._aws
        aws.cloud.budget.throttled(aws.account_number, aws.region, self._operation)

    def _reserve(self) -> None:
        aws = self._aws
        wait = aws.cloud.budget.reserve(
            aws.account_number,
            aws.region,
            self._operation,
            tokens=self._batch,
            patience_seconds=PATIENCE_SECONDS,
        )
        if wait > PATIENCE_SECONDS:
            self._batch = 1
            raise Fault(
                FaultKind.THROTTLED,
                f"the next call may be made in {wait:.0f} s",
                operation=self._operation,
                retry_after_seconds=wait,
            )
        self._left = self._batch
        self._begins_at = clock.monotonic() + wait
        self._batch = min(_MOST, 2 * self._batch) if wait < _SLOW_SECONDS else 1
