"""How costs are measured: contenders take turns, so that what disturbs one disturbs all."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

_WARM_UP_CALLS = 3
# Calls in a turn: as many as take this long, so that reading the clocks costs nothing.
_TURN_SECONDS = 0.1


@dataclass(frozen=True)
class Cost:
    """What something has taken: CPU of this process and of PostgreSQL's, and time by the clock.

    The clock also counts what other programs on the machine have taken meanwhile.
    """

    cpu_ms: float
    postgres_ms: float
    wall_ms: float

    @property
    def all_ms(self) -> float:
        """CPU of both processes."""
        return self.cpu_ms + self.postgres_ms


class Meter:
    """What is taken from its making on."""

    def __init__(self, postgres_pid: int) -> None:
        self._postgres = Path(f"/proc/{postgres_pid}/schedstat")
        self._start = self._read()

    def taken(self, calls: int = 1) -> Cost:
        """The cost until now, of one of so many calls."""
        spent = (now - then for now, then in zip(self._read(), self._start, strict=True))
        return Cost(*(seconds * 1000 / calls for seconds in spent))

    def _read(self) -> tuple[float, float, float]:
        postgres_nanoseconds = int(self._postgres.read_text().split()[0])
        return time.process_time(), postgres_nanoseconds / 1e9, time.perf_counter()


@dataclass
class _Contest:
    """One contender's turns so far."""

    call: Callable[[], object]
    postgres_pid: int
    calls_per_turn: int = 1
    turns: list[Cost] = field(default_factory=list)

    def warm_up(self) -> None:
        for _ in range(_WARM_UP_CALLS):
            self.call()
        self.take_turn()
        self.calls_per_turn = max(1, int(_TURN_SECONDS * 1000 / self.turns.pop().wall_ms))

    def take_turn(self) -> None:
        meter = Meter(self.postgres_pid)
        for _ in range(self.calls_per_turn):
            self.call()
        self.turns.append(meter.taken(self.calls_per_turn))

    @property
    def cost(self) -> Cost:
        return Cost(
            cpu_ms=median(turn.cpu_ms for turn in self.turns),
            postgres_ms=median(turn.postgres_ms for turn in self.turns),
            wall_ms=median(turn.wall_ms for turn in self.turns),
        )


def measure(
    calls: Mapping[str, tuple[Callable[[], object], int]], *, seconds: float
) -> dict[str, Cost]:
    """The medians of what calls cost, each given with the pid of its PostgreSQL process.

    All of them together have so many seconds, and one turn each at least.
    """
    contests = {name: _Contest(call, pid) for name, (call, pid) in calls.items()}
    for contest in contests.values():
        contest.warm_up()
    until = time.perf_counter() + seconds
    is_first = True
    while is_first or time.perf_counter() < until:
        for contest in contests.values():
            contest.take_turn()
        is_first = False
    return {name: contest.cost for name, contest in contests.items()}
