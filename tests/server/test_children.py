"""Children are kept alive, their output is kept, and nothing of them outlives the server."""

import os
import signal
import sys
from pathlib import Path

from cpm.kernel import clock
from cpm.server.children import Child, Command


def _python(name: str, code: str) -> Command:
    return Command(name, [sys.executable, "-u", "-c", code], {})


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_a_child_prints_is_in_its_log_file(tmp_path: Path) -> None:
    child = Child(_python("talker", "print('hello from the child')"), tmp_path, echo=False)
    child.start()
    child.wait(clock.monotonic() + 20)
    assert (tmp_path / "talker.log").read_text() == "hello from the child\n"


def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    child = Child(_python("sleeper", "import time; time.sleep(60)"), tmp_path, echo=False)
    child.start()
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)

    def has_restarted() -> bool:
        child.keep_alive()
        return child.pid != first

    assert clock.wait_until(has_restarted, timeout_seconds=20)
    child.ask_to_stop()
    child.wait(clock.monotonic() + 20)


def test_a_child_that_ignores_the_signal_is_killed_in_the_end(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready'); time.sleep(60)"
    child = Child(_python("deaf", deaf), tmp_path, echo=False)
    child.start()
    log = tmp_path / "deaf.log"
    assert clock.wait_until(lambda: log.exists() and "ready" in log.read_text(), timeout_seconds=20)
    assert child.pid is not None
    child.ask_to_stop()
    child.wait(clock.monotonic() + 0.2)
    assert not _is_alive(child.pid)


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent_code = f"""
import sys, time
from pathlib import Path
from cpm.server.children import Child, Command
child = Child(Command("orphan", [sys.executable, "-c", "import time; time.sleep(60)"], {{}}),
              Path({str(tmp_path)!r}), echo=False)
child.start()
Path({str(tmp_path / "pid")!r}).write_text(f"{{child.pid}}\\n")
time.sleep(60)
"""
    parent = Child(_python("parent", parent_code), tmp_path, echo=False)
    parent.start()
    pid_file = tmp_path / "pid"
    assert clock.wait_until(
        lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), timeout_seconds=20
    )
    orphan = int(pid_file.read_text())
    assert parent.pid is not None
    os.kill(parent.pid, signal.SIGKILL)
    assert clock.wait_until(lambda: not _is_alive(orphan), timeout_seconds=20)
    parent.wait(clock.monotonic() + 20)
