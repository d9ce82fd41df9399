"""Child processes: started, kept alive, their output kept in files, and stopped in order."""

import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from cpm.engine.programs import die_with_parent
from cpm.kernel import clock

_log = structlog.get_logger(__name__)

LOG_FILE_BYTES = 10 * 1024 * 1024
LOG_FILES = 5
FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 30.0
# A child that has lived this long starts again without delay when it dies.
PROVEN_SECONDS = 60.0


@dataclass(frozen=True)
class Command:
    """What to run, under which name it is known in logs."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]


class Child:
    """One process of the product, in its own process group, that dies with its parent."""

    def __init__(self, command: Command, logs: Path, *, echo: bool) -> None:
        self.command = command
        self._sink = _Sink(logs / f"{command.name}.log", echo=echo)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._back_off_seconds = FIRST_BACK_OFF_SECONDS
        self._not_before = 0.0

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Starts the process; its output goes to the log file."""
        self._started_at = clock.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own command line
            self.command.arguments,
            env={**os.environ, **self.command.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one call into libc, nothing of Python's
        )
        self._sink.follow(self._process)

    def keep_alive(self) -> None:
        """Starts the process again if it has ended, later each time that it ends at once."""
        if self._process is None or self._process.poll() is None:
            return
        if self._not_before == 0.0:
            self._plan_restart(self._process.returncode)
        if clock.monotonic() >= self._not_before:
            self._not_before = 0.0
            self.start()

    def ask_to_stop(self) -> None:
        """Sends SIGTERM, if the process lives."""
        self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process, if it lives."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, deadline: float) -> None:
        """Waits for the end until `deadline` (monotonic), then kills it and its whole group."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout=max(0.0, deadline - clock.monotonic()))
        except subprocess.TimeoutExpired:
            _log.warning("child does not stop, killing it", child=self.command.name)
            self._kill_group(self._process)
        self._sink.close()

    def _plan_restart(self, code: int) -> None:
        lived = clock.monotonic() - self._started_at
        if lived > PROVEN_SECONDS:
            self._back_off_seconds = FIRST_BACK_OFF_SECONDS
        self._not_before = clock.monotonic() + self._back_off_seconds
        _log.error(
            "child ended, starting it again",
            child=self.command.name,
            exit_status=code,
            lived_seconds=round(lived, 1),
            again_in_seconds=self._back_off_seconds,
        )
        self._back_off_seconds = min(self._back_off_seconds * 2, LONGEST_BACK_OFF_SECONDS)

    @staticmethod
    def _kill_group(process: subprocess.Popen[bytes]) -> None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        process.wait()


class _Sink:
    """Where a child's lines go: a rotated file, and this process's stderr if wanted."""

    def __init__(self, path: Path, *, echo: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = logging.handlers.RotatingFileHandler(
            path, maxBytes=LOG_FILE_BYTES, backupCount=LOG_FILES, delay=True
        )
        self._file.setFormatter(logging.Formatter("%(message)s"))
        self._echo = echo
        self._reader: threading.Thread | None = None

    def follow(self, process: subprocess.Popen[bytes]) -> None:
        self._reader = threading.Thread(target=self._pump, args=(process,), daemon=True)
        self._reader.start()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.join(timeout=2)
        self._file.close()

    def _pump(self, process: subprocess.Popen[bytes]) -> None:
        stream = process.stdout
        if stream is None:
            return
        with stream:
            for line in stream:
                self._write(line.decode(errors="replace").rstrip("\n"))

    def _write(self, text: str) -> None:
        record = logging.LogRecord("child", logging.INFO, "", 0, text, None, None)
        self._file.handle(record)
        if self._echo:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
