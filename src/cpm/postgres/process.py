"""The embedded PostgreSQL as the rest of the product uses it: a server for the length of a block.

The supervisor is a process of its own, so that it outlives a crash of ours for as long as it
takes to stop the server cleanly.
"""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from cpm.kernel import clock
from cpm.postgres import home, lock, programs, state
from cpm.postgres.address import Address
from cpm.postgres.errors import AlreadyRunning, NotRunning, StartFailed
from cpm.postgres.log import Log

EXIT_FAILED = 1
EXIT_ALREADY_RUNNING = 3
_POLL_SECONDS = 0.02
_STOP_SECONDS = 60.0


class EmbeddedPostgres:
    """A PostgreSQL in `directory`, running from `start` to `stop` or for the length of a block.

    durable: False is for tests: a crash of the machine may then cost the data.
    stall_seconds: how long a start may go on without a new line in the log. Recovery writes one
    every few seconds, so a long recovery is no stall.
    """

    def __init__(
        self, directory: Path, *, durable: bool = True, stall_seconds: float = 900.0
    ) -> None:
        self.directory = directory.absolute()
        self._durable = durable
        self._stall_seconds = stall_seconds
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._uri: str | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def uri(self) -> str:
        """The libpq URI of the product's database. Raises NotRunning before the first start."""
        if self._uri is None:
            raise NotRunning(self.directory)
        return self._uri

    @property
    def pid(self) -> int | None:
        """The supervisor's pid while it runs."""
        return self._supervisor.pid if self._supervisor and self.is_alive() else None

    def is_alive(self) -> bool:
        """Whether the supervisor runs; a crashed server it restarts by itself."""
        return self._supervisor is not None and self._supervisor.poll() is None

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises AlreadyRunning when another process runs it, StartFailed with the reason otherwise.
        """
        if self.is_alive():
            return
        self.stop()  # what is left of a supervisor that was killed
        with tempfile.TemporaryFile() as complaints:
            self._supervisor = self._spawn(complaints)
            try:
                self._uri = self._wait_until_ready(self._supervisor, complaints)
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Stop the server cleanly; after a minute, without writing back what recovery can redo."""
        supervisor = self._supervisor
        if supervisor is None:
            return
        while supervisor.poll() is None:
            supervisor.send_signal(signal.SIGTERM)
            try:
                supervisor.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        if supervisor.stdin is not None:
            supervisor.stdin.close()
        self._supervisor = None

    def _spawn(self, complaints: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "cpm.postgres", str(self.directory), "--lifeline"]
        if not self._durable:
            command.append("--not-durable")
        # Its standard input is the lifeline: the kernel closes it when we die, however we die.
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            start_new_session=True,  # Ctrl-C is for us: the database stops last
        )

    def _wait_until_ready(self, supervisor: subprocess.Popen[bytes], complaints: IO[bytes]) -> str:
        log_size_bytes, grown_at = -1, clock.monotonic()
        while supervisor.poll() is None:
            place = home.find(self.directory)
            current = _ready_state(place)
            if current is not None and current.supervisor_pid == supervisor.pid:
                return _address(place, current).uri
            log = Log(place.log)
            if log.size_bytes() != log_size_bytes:
                log_size_bytes, grown_at = log.size_bytes(), clock.monotonic()
            if clock.monotonic() - grown_at > self._stall_seconds:
                raise StartFailed(
                    f"PostgreSQL has shown no progress for {self._stall_seconds:g} s."
                    f" {log.explain(0)}"
                )
            clock.sleep(_POLL_SECONDS)
        raise self._refusal(supervisor.returncode, complaints)

    def _refusal(self, returncode: int, complaints: IO[bytes]) -> Exception:
        if returncode == EXIT_ALREADY_RUNNING:
            owner = lock.last_holder(home.find(self.directory).lock)
            return AlreadyRunning(self.directory, owner)
        complaints.seek(0)
        text = complaints.read().decode(errors="replace").strip()
        return StartFailed(
            text or f"the database's supervisor ended ({programs.exit_text(returncode)})."
        )


def connect_uri(directory: Path, *, timeout_seconds: float = 30.0) -> str:
    """The URI of the database that a live server runs for `directory`.

    Waits for one that is just starting. Raises NotRunning when nobody runs it, StartFailed when it
    does not answer in time, DirectoryUnusable when it belongs to another OS user.
    """
    return connect_address(directory, timeout_seconds=timeout_seconds).uri


def connect_address(directory: Path, *, timeout_seconds: float = 30.0) -> Address:
    """What `connect_uri` says, in parts."""
    place = home.find(directory)
    try:
        return _address(place, _await_ready(place, timeout_seconds))
    except PermissionError as error:
        raise home.belongs_to_another(place.directory) from error


def _address(place: home.Home, ready: state.State) -> Address:
    return Address(Path(ready.socket_directory), place.password.read_text().strip())


def _await_ready(place: home.Home, timeout_seconds: float) -> state.State:
    deadline = clock.monotonic() + timeout_seconds
    while lock.is_held(place.lock):
        ready = _ready_state(place)
        if ready is not None:
            return ready
        if clock.monotonic() > deadline:
            raise StartFailed(
                f"the database in {place.directory} is not ready after {timeout_seconds:g} s"
                f" ({_message(place)}). {Log(place.log).explain(0)}"
            )
        clock.sleep(_POLL_SECONDS)
    raise NotRunning(place.directory)


def _ready_state(place: home.Home) -> state.State | None:
    current = state.read(place.state)
    return current if current is not None and current.phase is state.Phase.READY else None


def _message(place: home.Home) -> str:
    current = state.read(place.state)
    return current.message if current else "no word from its supervisor"
