"""The engine's economy: calls to AWS and CPU for each volume that is protected.

    python -m bench.engine [--quick]

A worker process backs up a fleet twice against the emulated AWS, at the rates that AWS grants. The
second backup pushes out the first one, whose snapshots are then deleted.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from bench.database import empty_database
from bench.fleet import Fleet, Worker, plant, running_worker
from bench.verdicts import Target, console, show_targets, table
from cpm.aws.budget import published
from cpm.engine import queue, tick
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupOutcome, BackupPhase
from cpm.models.policies import Policy
from cpm.simulator.process import Simulator

_FLEET = Fleet(instances=60, volumes_each=3, loose_volumes=20)
_QUICK_FLEET = Fleet(instances=15, volumes_each=3, loose_volumes=5)
# How long an emulated snapshot is pending, and how often the worker looks.
_PENDING_SECONDS = 4.0
_POLL_SECONDS = 1.0
_LONGEST_SECONDS = 300.0

_MAKING = (
    "ec2:DescribeInstances",
    "ec2:DescribeVolumes",
    "ec2:CreateSnapshots",
    "ec2:CreateSnapshot",
)
_LOOKING = "ec2:DescribeSnapshots"
_DELETING = "ec2:DeleteSnapshot"
# What AWS takes in one call.
_INSTANCES_PER_CALL, _VOLUMES_PER_CALL, _SNAPSHOTS_PER_CALL = 1000, 500, 1000


@dataclass(frozen=True)
class Stage:
    """What one part of the work has taken."""

    name: str
    calls: Mapping[str, int]
    cpu_seconds: float
    wall_seconds: float

    @property
    def making_calls(self) -> int:
        """The calls that make snapshots, and that say of what."""
        return sum(self.calls.get(operation, 0) for operation in _MAKING)

    @property
    def rounds(self) -> int:
        """How often there was time to look at all that is pending."""
        return math.ceil(self.wall_seconds / _POLL_SECONDS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the fleet")
    fleet = _QUICK_FLEET if parser.parse_args(arguments).quick else _FLEET
    out = console()
    with empty_database(), Simulator() as simulator:
        out.print(f"Backing up {fleet.volumes} volumes twice ...")
        policy = plant(fleet, simulator)
        simulator.config(pending=_PENDING_SECONDS)
        with running_worker(simulator, poll_seconds=_POLL_SECONDS) as worker:
            _wait_until(lambda: queue.live_workers() > 0)
            stages = list(_stages(policy, simulator, worker))
    _show(out, fleet, stages)
    show_targets(out, _targets(fleet, stages))


def _stages(policy: Policy, simulator: Simulator, worker: Worker) -> Iterator[Stage]:
    stage = _Stage("first backup, on start", simulator, worker)
    old = _back_up(policy)
    yield stage.end()
    stage = _Stage("second backup", simulator, worker)
    _back_up(policy)
    yield stage.end()
    stage = _Stage("deletion of the first", simulator, worker)
    _wait_until(lambda: Backup.objects.get(pk=old.pk).outcome == BackupOutcome.DELETED)
    yield stage.end()


class _Stage:
    """A stage that is under way."""

    def __init__(self, name: str, simulator: Simulator, worker: Worker) -> None:
        self._name = name
        self._simulator = simulator
        self._worker = worker
        simulator.reset_counts()
        self._cpu, self._wall = worker.cpu_seconds(), clock.monotonic()

    def end(self) -> Stage:
        """What it has taken."""
        return Stage(
            self._name,
            self._simulator.counts(),
            self._worker.cpu_seconds() - self._cpu,
            clock.monotonic() - self._wall,
        )


def _back_up(policy: Policy) -> Backup:
    backup = tick.run_now(policy)
    _wait_until(lambda: Backup.objects.get(pk=backup.pk).phase == BackupPhase.CLOSED)
    backup.refresh_from_db()
    if backup.outcome != BackupOutcome.SUCCEEDED:
        raise RuntimeError(f"{backup} ended as {backup.outcome}")
    return backup


def _wait_until(condition: Callable[[], bool]) -> None:
    if not clock.wait_until(condition, timeout_seconds=_LONGEST_SECONDS):
        raise RuntimeError(f"the engine has not finished within {_LONGEST_SECONDS:g} s")


def _least(fleet: Fleet, stage: Stage) -> dict[str, int]:
    """The fewest calls with which a stage can be done, with as many looks as there was time for."""
    if _DELETING in stage.calls:
        return {_DELETING: fleet.volumes}
    making = (
        math.ceil(fleet.instances / _INSTANCES_PER_CALL),
        math.ceil(fleet.volumes / _VOLUMES_PER_CALL),
        fleet.instances,
        fleet.loose_volumes,
    )
    looks = stage.rounds * math.ceil(fleet.volumes / _SNAPSHOTS_PER_CALL)
    return {**dict(zip(_MAKING, making, strict=True)), _LOOKING: looks}


def _fastest_seconds(calls: Mapping[str, int]) -> float:
    """How long AWS lets one wait for the calls, when nobody has called it before."""
    return max(
        max(0.0, count - published(operation).burst) / published(operation).per_second
        for operation, count in calls.items()
    )


def _show(out: Console, fleet: Fleet, stages: Sequence[Stage]) -> None:
    shown = table("Calls to AWS", "", "calls", "least", "per volume")
    for stage in stages:
        least = _least(fleet, stage)
        for operation in dict.fromkeys([*least, *stage.calls]):
            calls = stage.calls.get(operation, 0)
            numbers = (str(calls), str(least.get(operation, 0)), f"{calls / fleet.volumes:.3f}")
            shown.add_row(f"{stage.name}: {operation}", *numbers)
        shown.add_section()
    out.print(shown)
    shown = table("The worker", "", "seconds", "at AWS's rates", "CPU s", "CPU ms per volume")
    for stage in stages:
        shown.add_row(
            stage.name,
            f"{stage.wall_seconds:.1f}",
            f"{_fastest_seconds(stage.calls):.1f}",
            f"{stage.cpu_seconds:.2f}",
            f"{stage.cpu_seconds * 1000 / fleet.volumes:.1f}",
        )
    out.print(shown)


def _targets(fleet: Fleet, stages: Sequence[Stage]) -> Iterator[Target]:
    _, second, deletion = stages
    volumes = fleet.volumes
    yield Target("calls to make a volume's snapshot", second.making_calls / volumes, 0.45)
    looks = second.calls.get(_LOOKING, 0) / _least(fleet, second)[_LOOKING]
    yield Target("calls to look, per round and 1,000 snapshots", looks, 1)
    yield Target("calls to delete a snapshot", deletion.calls[_DELETING] / volumes, 1.05)
    cpu_ms = (second.cpu_seconds + deletion.cpu_seconds) * 1000 / volumes
    yield Target("CPU of the worker, per volume and cycle", cpu_ms, 10, " ms")
    fastest_seconds = _fastest_seconds(deletion.calls)
    if fastest_seconds:
        slowness = deletion.wall_seconds / fastest_seconds
        yield Target("time to delete, of what AWS's rate asks for", slowness, 1.15)


if __name__ == "__main__":
    main()
