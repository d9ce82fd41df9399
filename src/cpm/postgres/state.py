"""What a supervisor says about itself: a small file that others read while it works."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from cpm.postgres.files import write_private


class Phase(StrEnum):
    """How far the server is."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"


@dataclass(frozen=True)
class State:
    """What the supervisor `supervisor_pid` wrote last.

    socket_directory: where its server listens, which nobody else can tell for sure.
    """

    supervisor_pid: int
    phase: Phase
    message: str
    socket_directory: str
    server_pid: int | None = None


def write(path: Path, state: State) -> None:
    """Replace the file as a whole."""
    write_private(path, json.dumps(asdict(state)) + "\n")


def read(path: Path) -> State | None:
    """The state in the file; None when there is none."""
    try:
        fields = json.loads(path.read_text())
        return State(**{**fields, "phase": Phase(fields["phase"])})
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
