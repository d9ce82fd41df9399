"""What a machine is at, and how that gets into AWS."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cpm.archive.copying import Progress
from cpm.archive.repository import Repository
from cpm.archive.s3 import S3Store
from cpm.archive.sealing import Key
from cpm.aws.sessions import Aws
from cpm.machine.wire import Assignment, Held, Kind, Place, Restoring, Side


@dataclass
class Task:
    """A range while it is worked on here; `version` is the server's, and `go_on` its last word."""

    assignment: Assignment
    version: int
    go_on: bool = True
    counted: Progress = field(default_factory=Progress)
    told: Progress = field(default_factory=Progress)

    @property
    def held(self) -> Held:
        """As the server knows it."""
        kind: Kind = "restore" if isinstance(self.assignment, Restoring) else "copy"
        return Held(range_id=self.assignment.range_id, version=self.version, kind=kind)


class Ways(Protocol):
    """How a task gets into AWS."""

    def __call__(self, side: Side, place: Place) -> Aws:
        """One side of it: where the snapshot is, or the repository."""
        ...


@dataclass(frozen=True)
class Means:
    """What a task is done with."""

    ways: Ways
    should_stop: Callable[[], bool]
    connections: int
    progress: Progress


def repository_of(wanted: Assignment, ways: Ways) -> Repository:
    """The repository, as far as the keys for it go."""
    archive = wanted.archive
    store = S3Store(
        ways("repository", archive.place),
        archive.bucket,
        archive.prefix,
        storage_class=archive.storage_class,
    )
    return Repository(store, archive.id, Key(archive.key))
