"""One clock for the test, the emulated AWS, and the processes that the test starts.

The time that the engine waits for AWS's lists must pass in AWS, too. The clock never goes back:
what an earlier test has made in AWS was made in the past.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cpm.kernel import clock
from cpm.simulator.process import Simulator
from tests.engine.world import World, make_world


@dataclass
class SharedClock:
    """How far all are ahead of the real time, in a file that they read."""

    path: Path
    ahead: timedelta = field(default_factory=timedelta)

    def __post_init__(self) -> None:
        self.move(timedelta())

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to know to follow the clock."""
        return {"CPM_CLOCK_OFFSET_FILE": str(self.path)}

    def move(self, by: timedelta) -> None:
        """Go on; readers see the time before or the time after, nothing between."""
        self.ahead += by
        written = self.path.with_suffix(".new")
        written.write_text(str(self.ahead.total_seconds()))
        written.replace(self.path)


@dataclass
class TimedWorld(World):
    """A world whose AWS is as late as the engine."""

    shared_clock: SharedClock = field(kw_only=True)

    def move_to(self, moment: datetime) -> None:
        """Move the clock on, AWS's included."""
        ahead = moment - clock.now()
        if ahead > timedelta():
            self.shared_clock.move(ahead)


def make_timed_world(simulator: Simulator, shared_clock: SharedClock) -> TimedWorld:
    """A new user with an account that nobody has used before."""
    made = make_world(simulator)
    return TimedWorld(
        made.simulator, made.user, made.account, made.credentials, shared_clock=shared_clock
    )
