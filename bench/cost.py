"""How costs are measured: contenders take turns, so that what disturbs one disturbs all."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

_WARM_UP_CALLS = 3
# Calls in a turn: as many as take this long, so that reading the clocks costs nothing.
_TURN_SECONDS = 0.1


@dataclass(frozen=True)
class Cost:
    """What one call costs. CPU is this process's; the wall clock has PostgreSQL's as well."""

    wall_ms: float
    cpu_ms: float


@dataclass
class _Contest:
    """One contender's turns so far: medians of turns are what is told."""

    call: Callable[[], object]
    calls_per_turn: int = 1
    walls_ms: list[float] = field(default_factory=list)
    cpus_ms: list[float] = field(default_factory=list)

    def warm_up(self) -> None:
        for _ in range(_WARM_UP_CALLS):
            self.call()
        self.take_turn()
        self.calls_per_turn = max(1, int(_TURN_SECONDS * 1000 / self.walls_ms.pop()))
        self.cpus_ms.clear()

    def take_turn(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(self.calls_per_turn):
            self.call()
        self.walls_ms.append((time.perf_counter() - wall) * 1000 / self.calls_per_turn)
        self.cpus_ms.append((time.process_time() - cpu) * 1000 / self.calls_per_turn)


def measure(calls: Mapping[str, Callable[[], object]], *, seconds: float) -> dict[str, Cost]:
    """What each call costs, from so many seconds of turns of all of them."""
    contests = {name: _Contest(call) for name, call in calls.items()}
    for contest in contests.values():
        contest.warm_up()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or not all(each.walls_ms for each in contests.values()):
        for contest in contests.values():
            contest.take_turn()
    return {
        name: Cost(median(contest.walls_ms), median(contest.cpus_ms))
        for name, contest in contests.items()
    }
