"""Ends work at a chosen point, as if its process had died there.

A point lies just after each thing that outlives a process: a commit, and a request that makes AWS
do something. To die just before one of them is to die just after the one before it, since nothing
that happens between is left when the process is gone. They are found where everything passes: at
Django's connection and at the SDK's HTTP session.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs

from botocore.httpsession import URLLib3Session
from django.db import connection

_READ = re.compile(r"\s*(SELECT|SHOW)\b", re.IGNORECASE)
# What says an action is shorter; what is longer is data.
_LONGEST = 65_536
_READ_ONLY = ("Describe", "Get", "List")
# The queue claims and closes jobs by functions.
_QUEUE = re.compile(r"procrastinate_(fetch|finish|retry|defer)_")


class Killed(BaseException):
    """The process is no more."""


@dataclass
class Fate:
    """Counts the points that work passes, and ends it where `dies` says so."""

    dies: Callable[[int], bool]
    passed: list[str] = field(default_factory=list)

    def pass_by(self, point: str) -> None:
        """Go on from here, or not."""
        self.passed.append(point)
        if self.dies(len(self.passed)):
            raise Killed(point)

    def __str__(self) -> str:
        return "points passed: " + ", ".join(self.passed)


@contextmanager
def mortal(fate: Fate) -> Iterator[None]:
    """Let the work of this block meet its fate."""
    commit, send = connection.commit, URLLib3Session.send

    def commit_and_pass() -> None:
        commit()
        fate.pass_by("commit")

    def execute_and_pass(
        execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        result = execute(sql, params, many, context)
        if not connection.in_atomic_block and _is_lasting(sql):
            fate.pass_by(" ".join(sql.split()[:2]))
        return result

    def send_and_pass(session: URLLib3Session, request: Any) -> Any:
        answer = send(session, request)
        operation = _operation(request)
        if not operation.startswith(_READ_ONLY):
            fate.pass_by(operation)
        return answer

    with (
        connection.execute_wrapper(execute_and_pass),
        patch.object(connection, "commit", commit_and_pass),
        patch.object(URLLib3Session, "send", send_and_pass),
    ):
        fate.pass_by("start")
        yield


def _is_lasting(sql: str) -> bool:
    return not _READ.match(sql) or bool(_QUEUE.search(sql))


def _operation(request: Any) -> str:
    """What is asked of AWS, as services in XML say in the body, and those in JSON in a header."""
    target = request.headers.get("X-Amz-Target")
    if target:
        name = target.decode() if isinstance(target, bytes) else str(target)
        return name.rpartition(".")[2]
    body = request.body or b""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    # Services with REST say it by the method alone.
    verb = {"GET": "Get", "HEAD": "Get"}.get(request.method, "?")
    return parse_qs(text).get("Action", [verb])[0] if len(text) < _LONGEST else verb
