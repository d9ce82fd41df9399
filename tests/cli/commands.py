"""Commands as processes of their own, as a terminal runs them."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpm.kernel import clock

# Longer than a machine takes that does ten other things.
START_SECONDS = 900.0
STOP_SECONDS = 300.0
# The commands set these themselves; what the test run has set would lead them astray.
_OURS = ("CPM_DATA", "CPM_SECRET_KEY", "DATABASE_URL", "DJANGO_SETTINGS_MODULE")


def environment(**extra: str) -> dict[str, str]:
    """The environment of a terminal, without what the test run needs for itself.

    One process of each kind will do, where a test does not say otherwise.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _OURS}
    return inherited | {"CPM_WEB_WORKERS": "1", "CPM_WORKERS": "1"} | extra


def cpm(*arguments: str, stdin: str = "", **extra: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cpm", *arguments],
        env=environment(**extra),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )


def start(*arguments: str, output: Path, **extra: str) -> subprocess.Popen[bytes]:
    """Starts a command that goes on until it is stopped; what it prints goes to `output`."""
    with output.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "cpm", *arguments],
            env=environment(**extra),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def wait_for_file(path: Path, process: subprocess.Popen[bytes], output: Path) -> None:
    """Waits until the process has written the file; fails with its output when it ends first."""
    clock.wait_until(
        lambda: path.exists() or process.poll() is not None, timeout_seconds=START_SECONDS
    )
    assert path.exists(), output.read_text()


def stop(process: subprocess.Popen[bytes]) -> int:
    """Asks a process to stop and returns its exit status."""
    process.terminate()
    return process.wait(STOP_SECONDS)


@dataclass(frozen=True)
class DemoServer:
    """A running demo: what its ready file says."""

    ready: dict[str, Any]
    output: Path

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    @property
    def ca(self) -> str:
        return str(self.ready["ca_cert"])
