"""Copying what the server has assigned, with keys and a budget that are the server's too."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cpm.archive import known
from cpm.archive.copying import Limits, Progress, copy_range
from cpm.archive.repository import Repository
from cpm.archive.s3 import S3Store
from cpm.archive.sealing import Key
from cpm.archive.source import EbsSource
from cpm.archive.writer import Checkpoint, Known
from cpm.aws.sessions import Aws
from cpm.machine.wire import Assignment, Held, Place, Side


@dataclass
class Task:
    """A range while it is copied here; `version` is the server's, and `go_on` what it last said."""

    assignment: Assignment
    version: int
    go_on: bool = True
    counted: Progress = field(default_factory=Progress)
    told: Progress = field(default_factory=Progress)

    @property
    def held(self) -> Held:
        """As the server knows it."""
        return Held(range_id=self.assignment.range_id, version=self.version)


class Ways(Protocol):
    """How a task gets into AWS."""

    def __call__(self, side: Side, place: Place) -> Aws:
        """One side of it: where the snapshot is, or the repository."""
        ...


def copy(
    task: Task,
    ways: Ways,
    *,
    elsewhere: Callable[[Repository], Known],
    tell: Callable[[Checkpoint], None],
    should_stop: Callable[[], bool],
    connections: int,
) -> bool:
    """Copy the range; false if it was stopped before its end.

    Raises Fault, `LineageBroken` and `Damaged`, and whatever `elsewhere` and `tell` raise.
    """
    wanted = task.assignment
    repository = _repository(wanted, ways)
    former = known.former(repository, wanted.based_on) if wanted.based_on else None
    base, has_been = known.going_on_from(repository, former, is_compared=bool(wanted.compared_with))
    return copy_range(
        repository,
        EbsSource(ways("source", wanted.source), wanted.snapshot_id, wanted.compared_with or None),
        range(wanted.first_page, wanted.last_page + 1),
        tell=tell,
        base=base,
        known=known.Both(has_been, elsewhere(repository)),
        after=wanted.after.checkpoint if wanted.after.block else None,
        should_stop=should_stop,
        limits=Limits(connections=connections, pack_bytes=wanted.pack_bytes, level=wanted.level),
        progress=task.counted,
    )


def _repository(wanted: Assignment, ways: Ways) -> Repository:
    archive = wanted.archive
    store = S3Store(
        ways("repository", archive.place),
        archive.bucket,
        archive.prefix,
        storage_class=archive.storage_class,
    )
    return Repository(store, archive.id, Key(archive.key))
