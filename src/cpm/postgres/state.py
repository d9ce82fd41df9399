"""What a supervisor says about itself: a small file that others read while it works."""

import json
import os
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
    """The state that the supervisor `supervisor_pid` wrote last."""

    supervisor_pid: int
    phase: Phase
    message: str
    server_pid: int | None = None


def write(path: Path, state: State) -> None:
    """Replace the file as a whole."""
    write_private(path, json.dumps(asdict(state)) + "\n")


def read(path: Path) -> State | None:
    """The state in the file; None when there is none."""
    try:
        fields = json.loads(path.read_text())
        return State(**{**fields, "phase": Phase(fields["phase"])})
    except (OSError, ValueError):
        return None


def is_ready(path: Path, supervisor_pid: int) -> bool:
    """Whether that very supervisor says that its server answers."""
    state = read(path)
    return (
        state is not None and state.phase is Phase.READY and state.supervisor_pid == supervisor_pid
    )


def ours(phase: Phase, message: str, server_pid: int | None = None) -> State:
    """A state of this process."""
    return State(os.getpid(), phase, message, server_pid)
