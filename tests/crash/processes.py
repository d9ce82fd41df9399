"""Processes of the server on the test's database, which are killed without warning."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from cpm.kernel import clock
from tests.cli import commands
from tests.crash.time import TimedWorld

DEADLINE_SECONDS = 120.0
# How fast time goes while something is waited for: in each step of `STEP_SECONDS`.
STEP, STEP_SECONDS = timedelta(seconds=2), 0.1

# What AWS is doing with a call when whoever has sent it dies: nothing ever, or its work, later.
HANG = {"kind": "hang", "seconds": 120}
LATE = {"kind": "delay", "seconds": 4}


@dataclass
class Fleet:
    """The processes that a test has started, and how they find database, AWS and time."""

    world: TimedWorld
    directory: Path
    environment: Mapping[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def output(self) -> Path:
        """What all of them print."""
        return self.directory / "output"

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of the server."""
        command = (*arguments, "--data", str(self.directory))
        process = commands.start(*command, output=self.output, **self.environment)
        self.processes.append(process)
        return process

    def worker(self, concurrency: int = 1) -> subprocess.Popen[bytes]:
        """Start a worker; one that does one job at a time takes the steps in their order."""
        return self.start("worker", "--concurrency", str(concurrency))

    def wait_for(self, condition: Callable[[], bool], *, time_passes: bool = True) -> None:
        """Wait until it is so; meanwhile time goes fast, for AWS too, unless it must not."""
        deadline = clock.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert clock.monotonic() < deadline, self.output.read_text()[-5000:]
            if time_passes:
                self.world.shared_clock.move(STEP)
            clock.sleep(STEP_SECONDS)

    def end(self) -> None:
        """Kill whatever still runs."""
        for process in self.processes:
            kill(process)


@contextmanager
def a_fleet(
    world: TimedWorld, directory: Path, database_url: str, **environment: str
) -> Iterator[Fleet]:
    """Room for processes; none outlives it."""
    known: dict[str, Any] = {
        "DATABASE_URL": database_url,
        "CPM_SECRET_KEY": "the key of the tests",
        "CPM_AWS_ENDPOINT": world.simulator.endpoint,
        "CPM_WORKER_STALLED_SECONDS": "3",
        "CPM_LOG_FORMAT": "text",
        **environment,
    }
    fleet = Fleet(world, directory, known)
    try:
        yield fleet
    finally:
        fleet.end()


def die_at(fleet: Fleet, operation: str, fault: dict[str, object]) -> None:
    """Start a worker, and kill it while it waits for the answer to `service:Operation`.

    What is late has been done when this is over: AWS lags behind less than time goes fast.
    """
    simulator = fleet.world.simulator
    simulator.faults([{"op": operation, "times": 1, **fault}])
    worker = fleet.worker()
    fleet.wait_for(lambda: bool(simulator.get("faults")[0]["times"] == 0))
    since = simulator.calls()[-1]["number"]
    kill(worker)
    if fault is LATE:
        fleet.wait_for(lambda: _has_ended(fleet, operation, since), time_passes=False)


def _has_ended(fleet: Fleet, operation: str, since: int) -> bool:
    name = operation.partition(":")[2]
    return any(call["operation"] == name for call in fleet.world.simulator.calls(since))


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started, as a power cut does."""
    if process.poll() is None:
        for pid in [process.pid, *_descendants(process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def _descendants(pid: int) -> Iterator[int]:
    """The processes that a process has started, and those that these have started."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield child
            yield from _descendants(child)
