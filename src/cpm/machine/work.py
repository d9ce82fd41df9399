"""One stream of work on a machine: claims a range, moves it, tells of it, and claims the next."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import structlog

from cpm.archive.errors import ArchiveError, LineageBroken
from cpm.archive.known import Elsewhere, Near
from cpm.archive.repository import Repository
from cpm.aws.credentials import Keys, LentKeys
from cpm.aws.sessions import Aws, Cloud
from cpm.kernel.faults import Fault
from cpm.machine import copying, restoring
from cpm.machine.budget import DrawnBudget
from cpm.machine.server import Dismissed, Refused, Server, ServerAway
from cpm.machine.task import Means, Task
from cpm.machine.wire import (
    Alive,
    Answered,
    Assignment,
    Claimed,
    Failed,
    Found,
    GoOn,
    Index,
    Lent,
    Place,
    Progress,
    Restoring,
    Side,
    Sought,
    Told,
    Wish,
)

log = structlog.get_logger(__name__)

BEAT_SECONDS = 20.0


class Stream:
    """Moves one range after the other until the server dismisses the machine."""

    def __init__(self, server: Server, *, connections: int, stop: threading.Event) -> None:
        self._server = server
        self._connections = connections
        self._stop = stop
        self._task: Task | None = None
        self._budget = DrawnBudget(server)
        self._clouds: dict[str, Cloud] = {}
        # Why there is no going on, as the signs of life have found out.
        self._end: Dismissed | ServerAway | Refused | None = None

    def run(self) -> None:
        """Work until `stop` is set. Raises `Dismissed`, `ServerAway` and `Refused`."""
        with self._beating():
            while not self._is_over():
                claimed = self._server.ask("claim", Alive(), Claimed)
                if claimed.assignment is None:
                    self._stop.wait(claimed.wait_seconds)
                else:
                    self._do(Task(claimed.assignment, claimed.assignment.version))
        if self._end is not None:
            raise self._end

    def _is_over(self) -> bool:
        return self._stop.is_set() or self._end is not None

    def _do(self, task: Task) -> None:
        self._task = task
        held, begins_at = task.held, _begins_at(task.assignment)
        log.info("range.begun", kind=held.kind, range=held.range_id, block=begins_at)
        try:
            failure = self._failure(task)
        finally:
            self._task = None
        if failure is not None and task.go_on and self._end is None:
            log.warning("range.given_back", reason=failure.reason, message=failure.message)
            self._server.ask("failed", failure, Answered)

    def _failure(self, task: Task) -> Failed | None:
        """Do the range; what there is to say where that did not come to its end."""
        try:
            is_done = self._moved(task)
        except LineageBroken as broken:
            return Failed(held=task.held, reason="lineage", message=str(broken))
        except ArchiveError as damage:
            return Failed(held=task.held, reason="damage", message=str(damage))
        except Fault as fault:
            return Failed(held=task.held, reason="fault", message=str(fault), kind=fault.kind)
        if not is_done:
            return Failed(held=task.held, reason="stopped")
        if task.go_on:
            self._tell(task, Progress(), is_done=True)
        return None

    def _moved(self, task: Task) -> bool:
        """Copy or put back; false if that was stopped before its end."""
        wanted = task.assignment
        means = Means(
            ways=partial(self._aws, task),
            should_stop=lambda: self._is_over() or not task.go_on,
            connections=self._connections,
            progress=task.counted,
        )
        if isinstance(wanted, Restoring):
            return restoring.restore(
                wanted,
                means,
                tell=lambda block, lost: self._tell(task, Progress(block=block), lost),
            )
        return copying.copy(
            wanted,
            means,
            elsewhere=partial(self._elsewhere, task),
            tell=lambda checkpoint: self._tell(task, Progress.of(checkpoint)),
        )

    def _tell(
        self, task: Task, progress: Progress, lost: Sequence[str] = (), *, is_done: bool = False
    ) -> None:
        """Tell of a checkpoint, or that the range is done."""
        blocks, stored = task.counted.blocks, task.counted.stored_bytes
        told = Told(
            held=task.held,
            progress=progress,
            blocks=blocks - task.told.blocks,
            stored_bytes=stored - task.told.stored_bytes,
            lost=list(lost),
            is_done=is_done,
        )
        answer = self._server.ask("checkpoint", told, Answered)
        task.told.blocks, task.told.stored_bytes = blocks, stored
        task.version, task.go_on = answer.version, answer.go_on
        log.info("range.told", range=told.held.range_id, done=told.is_done, go_on=answer.go_on)

    def _aws(self, task: Task, side: Side, place: Place) -> Aws:
        def lend() -> Keys:
            lent = self._server.ask("keys", Wish(held=task.held, side=side), Lent)
            return Keys(
                lent.access_key_id, lent.secret_access_key, lent.session_token, lent.expires_at
            )

        endpoint = task.assignment.aws_endpoint
        if endpoint not in self._clouds:
            self._clouds[endpoint] = Cloud(endpoint_url=endpoint, budget=self._budget)
        return self._clouds[endpoint].aws(LentKeys(lend), place.region, place.account)

    def _elsewhere(self, task: Task, repository: Repository) -> Elsewhere:
        """What other volumes have brought into the repository, as the server knows it."""

        def look_up(digest: bytes) -> Near | None:
            sought = Sought(held=task.held, digest=digest)
            return self._server.ask("near", sought, Found).near

        beginnings = self._server.ask("index", task.held, Index).beginnings
        return Elsewhere(repository, beginnings, look_up)

    @contextmanager
    def _beating(self) -> Iterator[None]:
        """Give signs of life, also while one range takes long."""
        over = threading.Event()
        thread = threading.Thread(target=self._beat_until, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()

    def _beat_until(self, over: threading.Event) -> None:
        while not over.wait(BEAT_SECONDS):
            task = self._task
            held = [task.held] if task else []
            try:
                answer = self._server.ask("alive", Alive(held=held), GoOn)
            except (Dismissed, ServerAway, Refused) as end:
                self._end = end
                return
            if task is not None and not answer.held:
                task.go_on = False


def _begins_at(wanted: Assignment) -> int:
    return wanted.block if isinstance(wanted, Restoring) else wanted.after.block
