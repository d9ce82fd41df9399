"""Programs that the server runs for its users: bounded in time and output, and never orphaned.

Each runs in a session of its own below `timeout`, which sends SIGTERM to the whole group when the
time is up, and SIGKILL to what is left of it a moment later. The kernel tells `timeout` to do so
as well when whoever started it dies, however that happens.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cpm.kernel import clock

# The end of what a program writes; what came before it is dropped.
LONGEST_OUTPUT_BYTES = 64 * 1024
# Between SIGTERM and SIGKILL.
GRACE_SECONDS = 5
# How often somebody looks whether the program has ended.
_LOOK_SECONDS = 0.05
_DROPPED = b"[...]\n"
# A pipe holds as much as one read takes; more only where somebody has seen to it.
_MOST_LAST_READS = 16
_TIMED_OUT = (124, -signal.SIGKILL)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)

_running: set["subprocess.Popen[bytes]"] = set()
_lock = threading.Lock()


@dataclass(frozen=True)
class Ended:
    """What became of a program."""

    # Negative is the signal that killed it.
    exit_code: int
    is_timed_out: bool
    # What it wrote to standard output and standard error, at most the last of it.
    output: str


def run(
    command: Sequence[str],
    *,
    timeout_seconds: int,
    environment: Mapping[str, str],
    directory: Path,
) -> Ended:
    """Run a program to its end, and end what it leaves behind. Raises OSError."""
    began = clock.monotonic()
    process = subprocess.Popen(  # noqa: S603 - what the administrator has put there
        ["timeout", f"--kill-after={GRACE_SECONDS}", str(timeout_seconds), *command],  # noqa: S607
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one call into libc, nothing of Python's
    )
    with _lock:
        _running.add(process)
    try:
        output = _follow(process, began + timeout_seconds + 2 * GRACE_SECONDS)
    finally:
        _end_group(process)
        with _lock:
            _running.discard(process)
    is_late = clock.monotonic() >= began + timeout_seconds
    return Ended(process.returncode, is_late and process.returncode in _TIMED_OUT, output)


def end_all() -> None:
    """End the programs that run in this process; whoever waits for one learns of it."""
    with _lock:
        for process in _running:
            process.terminate()


def die_with_parent() -> None:
    """Ask Linux to stop this process when its parent is gone, however the parent ended."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _follow(process: "subprocess.Popen[bytes]", deadline: float) -> str:
    """Read what the program writes until it ends, or until the deadline (monotonic)."""
    kept = bytearray()
    if process.stdout is None:
        return ""
    with process.stdout as pipe:
        os.set_blocking(pipe.fileno(), False)
        is_open = True
        while process.poll() is None and clock.monotonic() < deadline:
            if is_open:
                select.select([pipe], [], [], _LOOK_SECONDS)
                is_open = _read(pipe.fileno(), kept)
            else:
                clock.sleep(_LOOK_SECONDS)
        # The rest; whatever else has the pipe open may go on writing for ever.
        for _ in range(_MOST_LAST_READS):
            _read(pipe.fileno(), kept)
    return kept.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _read(descriptor: int, kept: bytearray) -> bool:
    """Take what there is to read now; False when nothing will ever come."""
    try:
        chunk = os.read(descriptor, LONGEST_OUTPUT_BYTES)
    except BlockingIOError:
        return True
    kept += chunk
    if len(kept) > LONGEST_OUTPUT_BYTES:
        kept[: len(_DROPPED) - LONGEST_OUTPUT_BYTES] = _DROPPED
    return bool(chunk)


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
