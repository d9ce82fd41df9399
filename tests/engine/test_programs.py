"""Programs that the server runs end in time, with what they have started, and with the server."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cpm.engine import programs
from cpm.engine.programs import Ended
from cpm.kernel import clock


def run(*command: str, timeout_seconds: int = 30) -> Ended:
    return programs.run(
        command,
        timeout_seconds=timeout_seconds,
        environment={"PATH": os.environ["PATH"]},
        directory=Path("/"),
    )


def shell(text: str, timeout_seconds: int = 30) -> Ended:
    return run("sh", "-c", text, timeout_seconds=timeout_seconds)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_what_a_program_says_and_how_it_ends_is_told() -> None:
    assert shell("echo one; echo two >&2; exit 7") == Ended(7, False, "one\ntwo\n")
    assert shell("exit 124") == Ended(124, False, "")
    assert shell("kill -9 $$") == Ended(-signal.SIGKILL, False, "")


def test_a_program_that_closes_its_output_is_waited_for() -> None:
    assert shell("exec >&- 2>&-; sleep 0.3; exit 5") == Ended(5, False, "")


def test_a_program_that_ignores_the_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "GRACE_SECONDS", 1)
    ended = shell("trap '' TERM; while :; do sleep 0.1; done", timeout_seconds=1)
    assert ended.is_timed_out


def test_output_without_end_takes_no_memory_and_no_longer_than_allowed() -> None:
    ended = run("yes", timeout_seconds=1)
    assert ended.is_timed_out
    assert len(ended.output) == programs.LONGEST_OUTPUT_BYTES


def test_who_left_the_session_keeps_nobody_waiting(tmp_path: Path) -> None:
    began = clock.monotonic()
    ended = shell(f"setsid sleep 60 & echo $! >{tmp_path}/pid; echo done")
    assert ended == Ended(0, False, "done\n")
    assert clock.monotonic() - began < 30
    # A service that a script has started is none of the script's any more.
    escaped = int((tmp_path / "pid").read_text())
    assert is_alive(escaped)
    os.kill(escaped, signal.SIGKILL)


def test_what_cannot_be_started_says_so() -> None:
    assert run("/nonexistent/program").exit_code == 127


def test_all_that_runs_can_be_ended_at_once() -> None:
    endings: list[Ended] = []
    thread = threading.Thread(target=lambda: endings.append(run("sleep", "60")))
    thread.start()

    def has_ended() -> bool:
        programs.end_all()
        return not thread.is_alive()

    assert clock.wait_until(has_ended, timeout_seconds=30)
    assert not endings[0].is_timed_out
    assert endings[0].exit_code != 0


def test_a_program_and_its_children_end_when_the_server_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"""
from pathlib import Path
from cpm.engine import programs
text = "sleep 60 & echo $$ $! >{pids}.new; mv {pids}.new {pids}; wait"
programs.run(["sh", "-c", text], timeout_seconds=60, environment={{}}, directory=Path("/"))
"""
    server = subprocess.Popen([sys.executable, "-c", code])
    assert clock.wait_until(pids.exists, timeout_seconds=30)
    server.kill()
    server.wait()
    running = [int(pid) for pid in pids.read_text().split()]
    assert clock.wait_until(lambda: not any(map(is_alive, running)), timeout_seconds=30)
