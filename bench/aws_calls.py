"""The engine's economy: calls to AWS and CPU for what is protected, copied, watched and rotated.

    python -m bench.aws_calls [--quick]

A worker backs up a fleet of instances, volumes and databases twice against the emulated AWS, which
grants what AWS publishes and refuses the rest; each backup is copied to another region. The second
one pushes out the first, whose snapshots and copies are then deleted. It ends with 1 when a promise
was not kept.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console

from bench.database import empty_database
from bench.fleet import Fleet, plant, running_worker
from bench.stages import Stage, Watch, stages
from bench.verdicts import Target, console, show_targets, table
from cpm.aws.budget import published
from cpm.models.operations import Operation
from cpm.simulator.process import Simulator

_FLEET = Fleet(instances=60, volumes_each=3, loose_volumes=20, databases=20)
_QUICK_FLEET = Fleet(instances=15, volumes_each=3, loose_volumes=5, databases=5)
# How long an emulated snapshot is pending, and how often the worker looks.
_PENDING_SECONDS = 4.0
_POLL_SECONDS = 4.0

# What AWS takes, or gives, in one call.
_PER_CALL = {
    "ec2:DescribeInstances": 1000,
    "ec2:DescribeVolumes": 500,
    "ec2:DescribeSnapshots": 1000,
    "rds:DescribeDBInstances": 100,
    "rds:DescribeDBSnapshots": 100,
}
_MAKING = (
    "ec2:DescribeInstances",
    "ec2:DescribeVolumes",
    "ec2:CreateSnapshots",
    "ec2:CreateSnapshot",
)
_LOOKING, _COPYING, _DELETING = "ec2:DescribeSnapshots", "ec2:CopySnapshot", "ec2:DeleteSnapshot"
_LIMITED = (
    *(*_MAKING, _LOOKING, _COPYING, _DELETING),
    *("rds:DescribeDBInstances", "rds:DescribeDBSnapshots"),
    *("rds:CreateDBSnapshot", "rds:CopyDBSnapshot", "rds:DeleteDBSnapshot"),
)
# The originals and their copies: each has a snapshot in two regions.
_PLACES = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print what came of it; 1 when a promise was not kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.aws_calls", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a quarter of the fleet, and what holds for it"
    )
    fleet = _QUICK_FLEET if parser.parse_args(arguments).quick else _FLEET
    out = console()
    with empty_database(), Simulator() as simulator:
        out.print(f"Backing up {fleet.volumes} volumes and {fleet.databases} databases twice ...")
        policy = plant(fleet, simulator)
        simulator.config(pending=_PENDING_SECONDS)
        simulator.faults(list(_as_published()))
        with running_worker(simulator, poll_seconds=_POLL_SECONDS) as worker:
            done = list(stages(policy, Watch(simulator, worker)))
        attempts = max(Operation.objects.values_list("attempts", flat=True))
    _show(out, fleet, done)
    return 0 if show_targets(out, _targets(fleet, done, attempts)) else 1


def _as_published() -> Iterator[dict[str, object]]:
    """An account that gets what AWS publishes, and no more."""
    for operation in _LIMITED:
        rate = published(operation)
        limit = {"rate": rate.per_second, "burst": rate.burst}
        yield {"op": operation, "kind": "rate", **limit}


def _least(fleet: Fleet, stage: Stage) -> Mapping[str, int]:
    """The fewest calls with which a stage can be done, with as many looks as there was time for."""
    volumes, databases = fleet.volumes, fleet.databases
    looks = {
        _LOOKING: _rounds(stage) * _calls(_LOOKING, volumes),
        "rds:DescribeDBSnapshots": _rounds(stage) * _calls("rds:DescribeDBSnapshots", databases),
    }
    match stage.does:
        case "back up":
            return {
                "ec2:DescribeInstances": _calls("ec2:DescribeInstances", fleet.instances),
                "ec2:DescribeVolumes": _calls("ec2:DescribeVolumes", volumes),
                "ec2:CreateSnapshots": fleet.instances,
                "ec2:CreateSnapshot": fleet.loose_volumes,
                "rds:DescribeDBInstances": _calls("rds:DescribeDBInstances", databases),
                "rds:CreateDBSnapshot": databases,
                **looks,
            }
        case "copy":
            return {_COPYING: volumes, "rds:CopyDBSnapshot": databases, **looks}
        case _:
            return {_DELETING: _PLACES * volumes, "rds:DeleteDBSnapshot": _PLACES * databases}


def _calls(operation: str, things: int) -> int:
    return math.ceil(things / _PER_CALL[operation])


def _rounds(stage: Stage) -> int:
    """How often there was time to look at all that is pending."""
    return math.ceil(stage.wall_seconds / _POLL_SECONDS)


def _fastest_seconds(stage: Stage) -> float:
    """How long AWS lets one wait for the calls, when nobody has called it before."""
    return max(
        max(0.0, count - published(operation).burst) / published(operation).per_second
        for (operation, _region), count in stage.calls.items()
    )


def _show(out: Console, fleet: Fleet, done: Sequence[Stage]) -> None:
    resources = fleet.volumes + fleet.databases
    shown = table("Calls to AWS", "", "calls", "least", "per resource")
    for stage in done:
        least = _least(fleet, stage)
        for operation in dict.fromkeys([*least, *(name for name, _ in stage.calls)]):
            calls = stage.count(operation)
            numbers = (str(calls), str(least.get(operation, 0)), f"{calls / resources:.3f}")
            shown.add_row(f"{stage.name}: {operation}", *numbers)
        shown.add_section()
    out.print(shown)
    shown = table("The worker", "", "seconds", "at AWS's rates", "CPU s", "CPU ms per volume")
    for stage in done:
        shown.add_row(
            stage.name,
            f"{stage.wall_seconds:.1f}",
            f"{_fastest_seconds(stage):.1f}",
            f"{stage.cpu_seconds:.2f}",
            f"{stage.cpu_seconds * 1000 / fleet.volumes:.1f}",
        )
    out.print(shown)


def _targets(fleet: Fleet, done: Sequence[Stage], attempts: int) -> Iterator[Target]:
    """What was promised; of two backups the second counts, which finds the worker warmed up."""
    *_, making, copying, deleting = done
    for stage in (making, copying):
        looks = stage.count(_LOOKING) / _least(fleet, stage)[_LOOKING]
        yield Target(f"{stage.name}: calls to look, per round and 1,000", looks, 1)
    yield Target("calls to copy a snapshot", copying.count(_COPYING) / fleet.volumes, 1.05)
    deleted = deleting.count(_DELETING) / _PLACES / fleet.volumes
    yield Target("calls to delete a snapshot", deleted, 1.05)
    yield Target("times that one call was sent", attempts, 2)
    fastest_seconds = _fastest_seconds(deleting)
    if fastest_seconds:
        slowness = deleting.wall_seconds / fastest_seconds
        yield Target("time to delete, of what AWS's rate asks for", slowness, 1.15)
    if fleet == _FLEET:
        yield from _targets_of_all(making, copying, deleting)


def _targets_of_all(making: Stage, copying: Stage, deleting: Stage) -> Iterator[Target]:
    """What is promised of the whole fleet: in a small one, what is done once weighs too much."""
    volumes = _FLEET.volumes
    made = making.count(*_MAKING) / volumes
    yield Target("calls to make a volume's snapshot", made, 0.45)
    deleted = deleting.count(_DELETING) / _PLACES / volumes
    after = (copying.count(_COPYING) + making.count(_LOOKING) + copying.count(_LOOKING)) / volumes
    yield Target("calls for a volume's whole cycle", made + after + deleted, 2.6)
    cpu_seconds = making.cpu_seconds + copying.cpu_seconds + deleting.cpu_seconds / _PLACES
    cpu_ms = cpu_seconds * 1000 / volumes
    yield Target("CPU of the worker for a volume's whole cycle", cpu_ms, 10, " ms")


if __name__ == "__main__":
    sys.exit(main())
