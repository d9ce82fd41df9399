"""Runs the demo: the emulated AWS, a whole server beside it, and a visitor who takes the tour."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from cpm.cli.terminal import progress_bars
from cpm.config.environment import Environment
from cpm.demo.client import ApiClient
from cpm.demo.estate import Estate
from cpm.demo.state import DemoState, write_ready_file
from cpm.demo.tour import Summary, Tour
from cpm.kernel import clock
from cpm.kernel.signals import stop_signals
from cpm.server.allinone import AllInOne, ServerOptions
from cpm.server.data import DataDirectory, Ownership
from cpm.simulator.process import Simulator

START_SECONDS = 300.0
# How long an emulated snapshot takes: long enough to see it happen.
PENDING_SECONDS = 3.0


class DemoFailed(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True)
class DemoOptions:
    """What `cpm demo` was asked for."""

    environment: Environment
    once: bool = False
    ready_file: Path | None = None
    seed_run: bool = True


class Demo:
    """One start of the demo; the next one on the same data directory goes on with what is there."""

    def __init__(self, options: DemoOptions, console: Console) -> None:
        self._options = options
        self._console = console
        self._data = options.environment.data.absolute()
        self._state_file = self._data / "demo.json"
        self._state = DemoState.load_or_create(self._state_file)
        self._failure: Exception | None = None

    def run(self) -> None:
        """Runs until stopped, or with `once` until the tour is over; raises what went wrong."""
        directory = DataDirectory(self._data)
        directory.prepare()
        # Not only the server's: of two emulated AWS one would undo what the other keeps.
        with Ownership(directory):
            self._console.print("Starting the emulated AWS and the server ...")
            self._run(directory)
        if self._failure is not None:
            raise self._failure

    def _run(self, data: DataDirectory) -> None:
        directory = data.path / "simulator"
        with Simulator(directory, state_file=directory / "aws.state") as simulator:
            estate = self._prepare_aws(simulator)
            server = self._server(simulator)
            visitor = threading.Thread(
                target=self._visit, args=(server, simulator, estate), daemon=True
            )
            with _told(data.aws_endpoint, simulator), stop_signals(server.ask_to_stop), server:
                visitor.start()
                server.run()
                self._console.print("Stopping ...")

    def _prepare_aws(self, simulator: Simulator) -> Estate:
        simulator.config(pending=PENDING_SECONDS)
        for account in self._state.accounts:
            simulator.account(
                account.account_number, account.access_key_id, account.secret_access_key
            )
        estate = Estate(simulator, self._state.accounts)
        estate.build()
        return estate

    def _server(self, simulator: Simulator) -> AllInOne:
        return AllInOne(
            ServerOptions(
                environment=replace(self._options.environment, database_url=""),
                echo=False,
                durable=False,
                is_owner=True,
                child_environment={
                    "CPM_AWS_ENDPOINT": simulator.endpoint,
                    "CPM_ROOT_PASSWORD": self._state.password,
                    "CPM_POLL_SECONDS": "1",
                },
            )
        )

    def _visit(self, server: AllInOne, simulator: Simulator, estate: Estate) -> None:
        """The visitor's thread; whatever goes wrong ends the demo and is raised by `run`."""
        try:
            self._tour(server, simulator, estate)
        except Exception as error:  # noqa: BLE001 - passed on to the main thread
            if not server.is_stopping:
                self._failure = error
        if self._options.once or self._failure is not None:
            server.ask_to_stop()

    def _tour(self, server: AllInOne, simulator: Simulator, estate: Estate) -> None:
        client = self._client(server)
        with progress_bars(self._console) as progress:
            tour = Tour(client, estate, _Bars(progress))
            policy = tour.set_up(self._state.accounts) if self._options.seed_run else None
            self._write_ready_file(server, simulator)
            if policy is not None and self._options.once:
                tour.rotate(policy)
                tour.recover_a_volume(policy)
            elif policy is not None:
                tour.back_up(policy)
        self._show(tour.finish())
        if not self._options.once:
            self._show_way_in(server)

    def _client(self, server: AllInOne) -> ApiClient:
        if not self._state.api_key:
            self._state.api_key = _create_api_key(self._state.username, server.child_environment)
            self._state.save(self._state_file)
        client = ApiClient(server.url, server.data.certificate, self._state.api_key)
        if not clock.wait_until(client.reachable, timeout_seconds=START_SECONDS):
            raise DemoFailed(f"the server does not answer; see {server.data.logs}")
        return client

    def _write_ready_file(self, server: AllInOne, simulator: Simulator) -> None:
        if self._options.ready_file is None:
            return
        first = self._state.accounts[0]
        write_ready_file(
            self._options.ready_file,
            {
                "url": server.url,
                "ca_cert": str(server.data.certificate),
                "username": self._state.username,
                "password": self._state.password,
                "api_key": self._state.api_key,
                "aws_endpoint": simulator.endpoint,
                "aws_access_key_id": first.access_key_id,
                "aws_secret_access_key": first.secret_access_key,
                "accounts": [asdict(account) for account in self._state.accounts],
                "data_dir": str(server.data.path),
                "pid": os.getpid(),
                "simulator_control": simulator.control,
            },
        )

    def _show(self, summary: Summary) -> None:
        steps = Table("step", "result", title="What was done", box=None)
        for step, result in summary.steps:
            steps.add_row(step, result)
        snapshots = Table(
            "snapshot", "of", "size", "region", "state", title="Snapshots in AWS", box=None
        )
        for row in summary.snapshots:
            snapshots.add_row(
                row.snapshot_id,
                row.resource_id,
                f"{row.size_gib} GiB",
                row.region,
                row.state,
            )
        out = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
        for table in (steps, snapshots):
            if table.row_count:
                out.print(table)
        out.print("backup successful" if summary.snapshots else "the server is ready")

    def _show_way_in(self, server: AllInOne) -> None:
        self._console.print(
            f"""
URL       {server.url}
user      {self._state.username}
password  {self._state.password}
API key   {self._state.api_key}
CA file   {server.data.certificate}

Try:
  TOKEN=$(curl -s --cacert {server.data.certificate} -d api_key={self._state.api_key} \\
    {server.url}/api/token/obtain/api_key/ | sed 's/.*"access":"\\([^"]*\\)".*/\\1/')
  curl -s --cacert {server.data.certificate} -H "Authorization: Bearer $TOKEN" \\
    {server.url}/api/backups/

Ctrl-C stops everything; the same command goes on with what is there.""",
            markup=False,
            soft_wrap=True,
        )


@contextmanager
def _told(path: Path, simulator: Simulator) -> Iterator[None]:
    """Commands that are given beside the demo find its AWS there meanwhile."""
    path.write_text(simulator.endpoint)
    try:
        yield
    finally:
        path.unlink()


class _Bars:
    """One progress bar for each thing that the tour follows."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def __call__(self, what: str, percent: int) -> None:
        if what not in self._bars:
            self._bars[what] = self._progress.add_task(what, total=100)
        self._progress.update(self._bars[what], completed=percent)


def _create_api_key(username: str, environment: dict[str, str]) -> str:
    """Makes a key as an operator does: with the command, beside the running server."""
    done = subprocess.run(  # noqa: S603 - our own command line
        [sys.executable, "-P", "-m", "cpm", "apikey", "create", username],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DemoFailed(f"no API key could be made: {done.stderr.strip()}")
    return done.stdout.strip().splitlines()[-1]
