"""Runs a cluster for as long as asked: waits for it, restarts it, stops it, leaks nothing.

One thread. The server is a direct child, so its end is seen at once. A first request to stop gets
a clean shutdown; further ones hurry it.
"""

import os
import signal
import subprocess
import traceback
from contextlib import suppress
from pathlib import Path

from cpm.kernel import clock
from cpm.postgres import lock, programs, state
from cpm.postgres.cluster import Cluster
from cpm.postgres.errors import AlreadyRunning, PostgresError, StartFailed
from cpm.postgres.files import write_private
from cpm.postgres.state import Phase, State
from cpm.postgres.stopping import StopRequests

_PROBE_SECONDS = 0.05
_CHECK_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 30.0
_STABLE_AFTER_SECONDS = 60.0


class Supervisor:
    """Runs `cluster` until told to stop.

    durable: False trades safety against a crash of the machine for speed, in tests.
    ready_file: gets the URI whenever the server has begun to answer.
    lifeline: a descriptor whose end of file means that whoever wanted the server is gone.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        durable: bool = True,
        ready_file: Path | None = None,
        lifeline: int | None = None,
    ) -> None:
        self._cluster = cluster
        self._durable = durable
        self._ready_file = ready_file
        self._stops = StopRequests(lifeline)
        self._server: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Run the cluster. Returns after a clean stop.

        Raises AlreadyRunning, and PostgresError when the server does not come up the first time;
        once it was up, it is restarted for as long as it takes.
        """
        home = self._cluster.home
        try:
            with lock.hold(home.lock), self._stops.listening():
                self._run()
        except lock.Held as held:
            raise AlreadyRunning(home.directory, held.pid) from held

    def _run(self) -> None:
        try:
            self._supervise()
        except PostgresError:
            raise
        except Exception:
            self._cluster.log.write(f"the supervisor failed\n{traceback.format_exc()}")
            raise
        finally:
            self._stop_server()
            self._forget_ready()

    def _supervise(self) -> None:
        self._record(Phase.STARTING, "preparing the database")
        self._cluster.clear_leftovers()
        self._cluster.initialise(durable=self._durable)
        self._start()
        pause_seconds = _FIRST_PAUSE_SECONDS
        while not self._is_stopping():
            began_at = clock.monotonic()
            ending = self._watch()
            if clock.monotonic() - began_at > _STABLE_AFTER_SECONDS:
                pause_seconds = _FIRST_PAUSE_SECONDS
            if not self._is_stopping():
                self._record(Phase.RESTARTING, f"{ending}; next start in {pause_seconds:g} s")
                self._stops.wait(pause_seconds)
                pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
                self._restart()

    def _restart(self) -> None:
        try:
            self._cluster.clear_leftovers()
            self._start()
        except (PostgresError, OSError) as failure:  # a full disk, say, may have room again soon
            self._cluster.log.write(f"the restart failed: {failure}")

    def _start(self) -> None:
        """Start the server and wait until it answers, however long its recovery takes."""
        log_offset_bytes = self._cluster.log.size_bytes()
        self._cluster.configure(durable=self._durable)
        server = self._server = self._cluster.spawn()
        while not self._is_stopping():
            if server.poll() is not None:
                raise StartFailed(
                    f"PostgreSQL did not start ({programs.exit_text(server.returncode)})."
                    f" {self._cluster.log.explain(log_offset_bytes)}"
                )
            if self._answers():
                return
            self._stops.wait(_PROBE_SECONDS)

    def _answers(self) -> bool:
        """Whether the product can connect. Raises StartFailed when it never will."""
        # psql, since importing psycopg would take longer than all else that a start takes.
        command = [str(self._cluster.bin / "psql"), "--no-psqlrc", "--command", "SELECT 1"]
        ended = programs.run_client(command, variables=self._cluster.address.variables)
        if "authentication failed" in ended.stderr or "does not exist" in ended.stderr:
            raise StartFailed(
                f"PostgreSQL runs, but refuses the product: {ended.stderr.strip()}. If the password"
                f" does not fit, delete {self._cluster.home.password}: the next start sets a new"
                " one."
            )
        return ended.returncode == 0

    def _watch(self) -> str:
        """Wait until the server ends or we are to stop, and tell how it ended."""
        server, announced = self._server, False
        while server and server.poll() is None and not self._is_stopping():
            announced = announced or self._announce(server.pid)
            self._stops.wait(_CHECK_SECONDS)
            with suppress(OSError):
                self._cluster.log.rotate()
        if server is None or server.returncode is None:
            return "there is no server"
        return f"the server ended ({programs.exit_text(server.returncode)})"

    def _announce(self, server_pid: int) -> bool:
        """Tell everybody that the server answers; False when the disk has no room for it."""
        try:
            if self._ready_file is not None:
                write_private(self._ready_file, self._cluster.uri)
        except OSError:
            return False
        return self._record(Phase.READY, "ready", server_pid)

    def _stop_server(self) -> None:
        """A fast shutdown; whoever asks again gets faster ones that leave the rest to recovery."""
        server = self._server
        if server is None or server.poll() is not None:
            return
        self._record(Phase.STOPPING, "stopping the server", server.pid)
        signals = iter((signal.SIGINT, signal.SIGQUIT, signal.SIGKILL))
        asked = -1
        while server.poll() is None:
            if self._stops.count > asked:
                server.send_signal(next(signals, signal.SIGKILL))
                asked = max(self._stops.count, 1)
            self._stops.wait(_CHECK_SECONDS)

    def _forget_ready(self) -> None:
        for path in (self._cluster.home.state, self._ready_file):
            if path is not None:
                path.unlink(missing_ok=True)
        with suppress(OSError):  # after a crash the socket may still be in it
            self._cluster.socket_directory.rmdir()

    def _record(self, phase: Phase, message: str, server_pid: int | None = None) -> bool:
        """Write down what we are doing; False when the disk has no room for it."""
        cluster = self._cluster
        cluster.log.write(message)
        current = State(os.getpid(), phase, message, str(cluster.socket_directory), server_pid)
        try:
            state.write(cluster.home.state, current)
        except OSError:
            return False
        return True

    def _is_stopping(self) -> bool:
        return self._stops.count > 0
