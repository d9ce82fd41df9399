"""The life of two backups in stages, and what each has taken of AWS, of the CPU and of time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bench.fleet import Worker
from cpm.engine import queue, tick
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, CopyStatus
from cpm.models.policies import Policy
from cpm.simulator.process import Simulator

_LONGEST_SECONDS = 900.0

# By operation and region.
Calls = Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Stage:
    """What one part of the work has taken; `does` is what it is for, whichever backup it is of."""

    name: str
    does: str
    calls: Calls
    cpu_seconds: float
    wall_seconds: float

    def count(self, *operations: str) -> int:
        """The calls of these operations, wherever."""
        return sum(count for (name, _), count in self.calls.items() if name in operations)


class Watch:
    """What the stages are measured with."""

    def __init__(self, simulator: Simulator, worker: Worker) -> None:
        self._simulator = simulator
        self._worker = worker
        self._start()

    def lap(self, name: str, does: str) -> Stage:
        """What has been taken since the last lap."""
        rows = self._simulator.counts_by("region")
        stage = Stage(
            name,
            does,
            {(row["op"], row["region"]): row["count"] for row in rows},
            self._worker.cpu_seconds() - self._cpu_seconds,
            clock.monotonic() - self._began_at,
        )
        self._start()
        return stage

    def _start(self) -> None:
        self._simulator.reset_counts()
        self._cpu_seconds, self._began_at = self._worker.cpu_seconds(), clock.monotonic()


def stages(policy: Policy, watch: Watch) -> Iterator[Stage]:
    """Back up twice, with copies, and wait until the first backup is pushed out."""
    _wait_until(lambda: queue.live_workers() > 0)
    watch.lap("start", "start")
    first = _back_up(policy)
    yield watch.lap("first backup, on start", "back up")
    _wait_for_copies(first)
    yield watch.lap("its copies", "copy")
    second = _back_up(policy)
    yield watch.lap("second backup", "back up")
    _wait_for_copies(second)
    yield watch.lap("copies of the second", "copy")
    _wait_until(lambda: Backup.objects.get(pk=first.pk).outcome == BackupOutcome.DELETED)
    yield watch.lap("deletion of the first", "delete")


def _back_up(policy: Policy) -> Backup:
    backup = tick.run_now(policy)
    _wait_until(lambda: Backup.objects.get(pk=backup.pk).phase == BackupPhase.CLOSED)
    backup.refresh_from_db()
    if backup.outcome != BackupOutcome.SUCCEEDED:
        raise RuntimeError(f"{backup} ended as {backup.outcome}")
    return backup


def _wait_for_copies(backup: Backup) -> None:
    under_way = (CopyStatus.NONE, CopyStatus.IN_PROGRESS)
    _wait_until(lambda: Backup.objects.get(pk=backup.pk).dr_status not in under_way)
    backup.refresh_from_db()
    if backup.dr_status != CopyStatus.SUCCEEDED:
        raise RuntimeError(f"the copies of {backup} ended as {backup.dr_status}")


def _wait_until(condition: Callable[[], bool]) -> None:
    if not clock.wait_until(condition, timeout_seconds=_LONGEST_SECONDS):
        raise RuntimeError(f"the engine has not finished within {_LONGEST_SECONDS:g} s")
