"""What is measured, each in a process of its own: `python -m bench.archive.work '<JSON>'`.

Prints what it took, as JSON.
"""

import logging
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from bench.archive import bare
from cpm.archive import reader, target, writer
from cpm.archive.copying import Limits, copy_range
from cpm.archive.manifests import Manifest, PagePlace
from cpm.archive.pages import PAGE_BLOCKS
from cpm.archive.repository import Repository
from cpm.archive.s3 import S3Store
from cpm.archive.sealing import Key
from cpm.archive.source import EbsSource, Listed
from cpm.archive.writer import Checkpoint, Subject
from cpm.aws.budget import NoBudget
from cpm.aws.credentials import StaticKeys
from cpm.aws.sessions import Aws, Cloud
from cpm.kernel import clock, counters, memory

_BLOCKS_PER_GIB = 2048


@dataclass(frozen=True, kw_only=True)
class Task:
    """One thing to do."""

    does: str
    # Of http, for the bare work; and where the product finds EBS direct and S3.
    port: int
    endpoint: str
    kind: str = "text"
    bucket: str = "archive"
    blocks: int = 0
    volume_blocks: int = 0
    is_encrypted: bool = True
    level: int = Limits().level
    # Where the name of the newest copy is kept, and where an image goes.
    note: str = ""
    to: str = ""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What it took."""

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float
    requests: int


class Desk:
    """The product's archive, on the stand-in."""

    def __init__(self, task: Task, aws: Aws) -> None:
        self._task = task
        self._aws = aws
        self._checkpoints: list[Checkpoint] = []
        key = Key(bytes(32)) if task.is_encrypted else Key()
        self._repository = Repository(S3Store(aws, task.bucket, "of"), "of", key)
        self._limits = Limits(level=task.level)

    def warm_up(self) -> None:
        """Let the SDK find its endpoints: a process does that once, whatever it copies."""
        self._repository.store.write("nothing", b"")
        EbsSource(self._aws, "snap-text").read(Listed(0, "T0"))
        counters.collect()

    def copy(self) -> None:
        """Copy all of the snapshot."""
        self._publish(self._copied(None, None), None)

    def increment(self) -> None:
        """Copy what has changed since the copy that is there."""
        base = self._newest()
        self._publish(self._copied("snap-before", base), base)

    def image(self) -> None:
        """Restore the newest copy as an image."""
        damages = reader.restore(self._repository, self._newest(), Path(self._task.to))
        if damages:
            raise RuntimeError(f"damaged: {damages}")

    def back(self) -> None:
        """Put the newest copy back into EBS."""
        done = target.restore_range(
            self._repository,
            self._newest(),
            self._aws,
            "snap-back",
            self._pages(),
            limits=self._limits,
        )
        if done.damages or not done.is_finished:
            raise RuntimeError(f"damaged: {done.damages}")

    def _copied(self, since: str | None, base: Manifest | None) -> dict[int, PagePlace | None]:
        copied = copy_range(
            self._repository,
            EbsSource(self._aws, f"snap-{self._task.kind}", since),
            self._pages(),
            tell=self._checkpoints.append,
            base={each.page: each for each in base.pages} if base else None,
            limits=self._limits,
        )
        if not copied:
            raise RuntimeError("the copy has stopped")
        return {page: place for each in self._checkpoints for page, place in each.pages.items()}

    def _publish(self, pages: dict[int, PagePlace | None], base: Manifest | None) -> None:
        size_gib = -(-self._task.volume_blocks // _BLOCKS_PER_GIB)
        about = Subject(snapshot={"id": "snap-1"}, volume={"id": "vol-1", "size_gib": size_gib})
        made = writer.publish(self._repository, about, clock.now(), pages, base)
        Path(self._task.note).write_text(made.name)

    def _newest(self) -> Manifest:
        return self._repository.manifest(Path(self._task.note).read_text())

    def _pages(self) -> range:
        return range(-(-self._task.volume_blocks // PAGE_BLOCKS))


def main() -> None:
    """Do the task that the command line has, and print what it took."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    if task.does != "bare":
        memory.settle()  # as the product's processes do
    # As the product does: what only helps to find faults is not written.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    cloud = Cloud(endpoint_url=task.endpoint, budget=NoBudget())
    desk = Desk(task, cloud.aws(StaticKeys("AKIA", "secret"), "eu-west-1"))
    does: dict[str, Callable[[], None]] = {
        "bare": lambda: bare.copy(
            task.port, task.bucket, task.kind, range(task.blocks), task.level
        ),
        "copy": desk.copy,
        "increment": desk.increment,
        "image": desk.image,
        "back": desk.back,
    }
    desk.warm_up()
    started = _cpu_seconds()
    began = clock.monotonic()
    does[task.does]()
    wall = clock.monotonic() - began
    cloud.close()
    cost = Cost(
        wall_seconds=wall,
        cpu_seconds=_cpu_seconds() - started,
        peak_mib=_peak_mib(),
        requests=_requests(),
    )
    print(msgspec.json.encode(cost).decode())


def _peak_mib() -> float:
    """Of this program; what `getrusage` tells may be of the one that has started it."""
    status = Path("/proc/self/status").read_text()
    (line,) = (each for each in status.splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _requests() -> int:
    counts = counters.collect().counts
    return int(sum(count for name, count in counts.items() if 'service="s3"' in name))


if __name__ == "__main__":
    main()
