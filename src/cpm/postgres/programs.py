"""Running PostgreSQL's programs: as the right OS user, in a clean environment, never orphaned."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cpm.postgres.errors import StartFailed
from cpm.postgres.log import Log
from cpm.postgres.os_user import OsUser

_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def environment(**extra: str) -> dict[str, str]:
    """What PostgreSQL's programs need of our environment.

    Its secrets are none of their business, and variables for other servers would lead them astray.
    """
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**passed_on, "LC_ALL": "C", "TZ": "UTC", **extra}


def spawn(
    command: Sequence[str | Path],
    *,
    user: OsUser,
    log: Log,
    when_orphaned: signal.Signals,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, output to the log.

    The kernel sends it `when_orphaned` when this process dies, however it dies (Linux only;
    elsewhere the next supervisor stops what the last one left).
    """
    output = log.open()
    try:
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=stdin,
            stdout=output,
            stderr=output,
            cwd="/",
            env=environment(),
            start_new_session=True,
            preexec_fn=_dying_with(os.getpid(), when_orphaned),  # noqa: PLW1509 - one thread only
            user=None if user.is_us else user.uid,
            group=None if user.is_us else user.gid,
            extra_groups=None if user.is_us else [],
        )
    finally:
        os.close(output)


def run(command: Sequence[str | Path], *, user: OsUser, log: Log, stdin_text: str = "") -> None:
    """Run a program to its end; raises StartFailed with the end of the log when it fails."""
    log_offset_bytes = log.size_bytes()
    process = spawn(
        command, user=user, log=log, when_orphaned=signal.SIGKILL, stdin=subprocess.PIPE
    )
    process.communicate(stdin_text.encode())
    if process.returncode != 0:
        raise StartFailed(
            f"{Path(command[0]).name} failed ({exit_text(process.returncode)})."
            f" {log.explain(log_offset_bytes)}"
        )


def run_client(
    command: Sequence[str], *, variables: dict[str, str], stdout: int = subprocess.DEVNULL
) -> subprocess.CompletedProcess[str]:
    """Run a program that connects to the server, as the user that we are, to its end."""
    return subprocess.run(  # noqa: S603
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=environment(**variables),
        text=True,
    )


def exit_text(returncode: int) -> str:
    """How a process ended, in words."""
    if returncode >= 0:
        return f"exit status {returncode}"
    return f"killed by {signal.Signals(-returncode).name}"


def _dying_with(parent_pid: int, orphan_signal: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None

    def ask_the_kernel() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(orphan_signal))
        if os.getppid() != parent_pid:  # it died before we asked
            os._exit(1)

    return ask_the_kernel
