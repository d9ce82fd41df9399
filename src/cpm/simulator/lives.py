"""Things that AWS makes in its own time: pending for a while, then done or failed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cpm.kernel import clock


class State(StrEnum):
    """Where something in the making has got to."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


@dataclass
class Life:
    """Pending from `started_at` to `ends_at`; the verdict is given at the first look after that."""

    started_at: datetime
    ends_at: datetime
    state: State = State.PENDING

    @classmethod
    def of(cls, seconds: float) -> "Life":
        """A life that begins now and is pending for `seconds`."""
        now = clock.now()
        return cls(now, now + timedelta(seconds=seconds))

    @property
    def is_due(self) -> bool:
        """Whether the time of making is over."""
        return clock.now() >= self.ends_at

    def settle(self, *, fails: bool) -> State:
        """The state by now; once it is done or failed it stays so."""
        if self.state is State.PENDING and self.is_due:
            self.state = State.FAILED if fails else State.DONE
        return self.state

    def progress_percent(self) -> int:
        """How far the making is by the clock, 0 to 99 while pending, 100 when done."""
        if self.state is not State.PENDING:
            return 100
        whole = (self.ends_at - self.started_at).total_seconds()
        passed = (clock.now() - self.started_at).total_seconds()
        return min(99, int(100 * passed / whole)) if whole > 0 else 99

    def end_now(self) -> None:
        """Let the time of making be over."""
        self.ends_at = min(self.ends_at, clock.now())
