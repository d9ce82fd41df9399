"""Ends work at a chosen point, as if its process had died there.

A point lies just after each thing that outlives a process: a commit that has written something, and
a call that makes AWS do something. To die just before one of them is to die just after the one
before it, since nothing that happens between is left when the process is gone. They are found where
everything passes: at Django's connection, and where AWS is called.

A point has a name, which says what was done in which job. Points of one name are of one kind: to
die at two of them is to die at the same place of the program.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from unittest.mock import patch

from django.db import connection

from cpm.aws.lean import Answer, Lean, Request
from cpm.aws.sessions import Aws
from cpm.engine.queue import Task
from cpm.machine.budget import DrawnBudget

_READ_ONLY = ("AssumeRole", "Decrypt", "Describe", "Encrypt", "Get", "Head", "List")
# What changes nothing by itself, and what only sets marks within a transaction.
_NOT_WRITTEN = re.compile(r"\s*(SELECT|SHOW|SAVEPOINT|RELEASE|ROLLBACK|SET|LOCK)\b", re.IGNORECASE)
# The queue claims and closes jobs by functions.
_QUEUE = re.compile(r"procrastinate_(fetch|finish|retry)_\w+")
_FINISHED = "procrastinate_finish_job"
_TABLE = re.compile(
    r'\s*(INSERT INTO|UPDATE|DELETE FROM) "?(\w+)"?(?: SET (.*?) WHERE )?', re.DOTALL
)
_COLUMN = re.compile(r'"(\w+)" = ')
# What costs nothing to lose, so that one of each says enough for all jobs.
_EVERYWHERE = re.compile(r"procrastinate_fetch_job|(insert|update) cpm_apibudget")
# Objects of an archive, by what they are.
_FOLDERS = ("keys", "manifests", "packs", "probes", "retired")


class Killed(BaseException):
    """The process is no more."""


# Whether to die at the last of the points that were passed.
Dies = Callable[[Sequence[str]], bool]


@dataclass
class Fate:
    """Notes the points that work passes, and ends it where `dies` says so. Thread-safe."""

    dies: Dies
    passed: list[str] = field(default_factory=list)
    # The kind of job that is being done.
    job: str = ""
    _is_dead: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """A new process."""
        self._is_dead, self.job = False, ""
        self.pass_by("start")

    def pass_by(self, what: str) -> None:
        """Go on from here, or not."""
        with self._lock:
            self.go_on()
            of_job = self.job and not _EVERYWHERE.match(what)
            self.passed.append(f"{self.job}: {what}" if of_job else what)
            if what.startswith(_FINISHED):
                self.job = ""
            self._is_dead = self.dies(self.passed)
            self.go_on()

    def go_on(self) -> None:
        """What the threads of a dead process would do next, they do not do."""
        if self._is_dead:
            raise Killed

    def __str__(self) -> str:
        return "points passed:\n" + "\n".join(self.passed)


@dataclass
class AtNewKind:
    """Dies at points of kinds that nobody has met, `most` times; `met` is everybody's."""

    met: set[str] = field(default_factory=set)
    most: float = 1

    def __call__(self, passed: Sequence[str]) -> bool:
        if not self.most or passed[-1] in self.met:
            return False
        self.met.add(passed[-1])
        self.most -= 1
        return True


@dataclass(frozen=True)
class AtLast:
    """Dies at the last of all points of a kind, where there were so many and more than one."""

    counts: Mapping[str, int]

    def __call__(self, passed: Sequence[str]) -> bool:
        count = self.counts.get(passed[-1], 0)
        return count > 1 and passed.count(passed[-1]) == count


@contextmanager
def mortal(fate: Fate) -> Iterator[None]:
    """Let the work of this block meet its fate."""
    with _mortal_rows(fate), _mortal_calls(fate), _named_jobs(fate):
        fate.begin()
        yield


@contextmanager
def _mortal_rows(fate: Fate) -> Iterator[None]:
    commit, roll_back = connection.commit, connection.rollback
    written: set[str] = set()

    def commit_and_pass() -> None:
        commit()
        what = ", ".join(sorted(written))
        written.clear()
        if what:
            fate.pass_by(what)

    def roll_back_and_forget() -> None:
        written.clear()
        roll_back()

    def execute_and_pass(
        execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if not _is_lasting(sql):
            return execute(sql, params, many, context)
        if connection.in_atomic_block:
            written.add(_change(sql))
            return execute(sql, params, many, context)
        fate.go_on()
        result = execute(sql, params, many, context)
        fate.pass_by(_change(sql))
        return result

    with (
        connection.execute_wrapper(execute_and_pass),
        patch.object(connection, "commit", commit_and_pass),
        patch.object(connection, "rollback", roll_back_and_forget),
    ):
        yield


@contextmanager
def _mortal_calls(fate: Fate) -> Iterator[None]:
    call, send = Aws.call, Lean.send

    def call_and_pass(aws: Aws, service: str, operation: str, **parameters: Any) -> Any:
        if _is_of_machine(aws):
            return call(aws, service, operation, **parameters)
        with _passing(fate, operation, str(parameters.get("Key", ""))):
            return call(aws, service, operation, **parameters)

    def send_and_pass(lean: Lean, request: Request) -> Answer:
        if _is_of_machine(lean._aws):
            return send(lean, request)
        with _passing(fate, request.operation, request.path):
            return send(lean, request)

    with patch.object(Aws, "call", call_and_pass), patch.object(Lean, "send", send_and_pass):
        yield


def _is_of_machine(aws: Aws) -> bool:
    """Whether it is a worker machine that calls, which lives on when the server dies."""
    return isinstance(aws.cloud.budget, DrawnBudget)


@contextmanager
def _passing(fate: Fate, operation: str, path: str) -> Iterator[None]:
    """A call, whatever AWS answers."""
    fate.go_on()
    try:
        yield
    finally:
        if not operation.startswith(_READ_ONLY):
            folders = [each for each in PurePosixPath(path).parts if each in _FOLDERS]
            fate.pass_by(" ".join([operation, *folders]))


@contextmanager
def _named_jobs(fate: Fate) -> Iterator[None]:
    perform = Task.perform

    def perform_by_name(task: Task, *arguments: Any, **options: Any) -> None:
        fate.job = task.name
        perform(task, *arguments, **options)

    with patch.object(Task, "perform", perform_by_name):
        yield


def _is_lasting(sql: str) -> bool:
    return not _NOT_WRITTEN.match(sql) or bool(_QUEUE.search(sql))


def _change(sql: str) -> str:
    """What a statement does, without its values."""
    of_queue = _QUEUE.search(sql)
    if of_queue:
        return of_queue.group()
    found = _TABLE.match(sql)
    if found is None:
        return " ".join(sql.split()[:2])
    verb, table, changes = found.groups()
    columns = ",".join(sorted(_COLUMN.findall(changes or "")))
    return f"{verb.split()[0].lower()} {table}" + (f" ({columns})" if columns else "")
