"""A simulator in a process of its own, for tests and the demo: starts it, steers it, ends it."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cpm.kernel import clock

_START_SECONDS = 300.0
_STOP_SECONDS = 30.0


class SimulatorFailed(RuntimeError):
    """The simulator did not start, or refused a control request; the text says why."""


@dataclass(frozen=True)
class Credentials:
    """The long-lived key of an account's administrator."""

    account: str
    access_key_id: str
    secret_access_key: str


class Simulator:
    """A running simulator; a context manager. The process ends when this one does.

    `state_file` keeps everything over restarts; the log is `directory/simulator.log`.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int = 0,
        accounts: Iterable[str] = (),
        state_file: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory or Path(tempfile.mkdtemp(prefix="cpm-simulator-"))
        self._port = port
        self._accounts = tuple(accounts)
        self._state_file = state_file
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = ""
        self.control = ""

    @property
    def log_file(self) -> Path:
        """Where the process writes its log."""
        return self._directory / "simulator.log"

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._running().pid

    def start(self) -> Self:
        """Start the process and wait until it answers; raises SimulatorFailed."""
        self._directory.mkdir(parents=True, exist_ok=True)
        ready_file = self._directory / "simulator.ready.json"
        ready_file.unlink(missing_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                self._command(ready_file),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,  # Ctrl-C is for the parent, which ends this one last
            )
        process = self._process
        clock.wait_until(
            lambda: ready_file.exists() or process.poll() is not None,
            timeout_seconds=_START_SECONDS,
        )
        if not ready_file.exists():
            self.stop()
            raise SimulatorFailed(f"the simulator did not start: {self._last_words()}")
        ready = json.loads(ready_file.read_text())
        self.endpoint, self.control = ready["endpoint"], ready["control"]
        return self

    def stop(self) -> None:
        """End the process, cleanly if it can."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def __enter__(self) -> Self:
        return self if self._process else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def account(
        self,
        number: str,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
    ) -> Credentials:
        """The administrator's key of an account, opened when it is new."""
        wanted = {
            "account": number,
            "access_key_id": access_key_id,
            "secret_access_key": secret_access_key,
        }
        return Credentials(**self.post("accounts", wanted))

    def counts(self) -> dict[str, int]:
        """How often each operation was called, as `{"ec2:CreateSnapshot": 3}`."""
        counted: dict[str, int] = self.get("counts")
        return counted

    def counts_by(self, *dimensions: str) -> list[dict[str, Any]]:
        """The same by `account`, by `region`, or both: rows with `op` and `count`."""
        rows: list[dict[str, Any]] = self.get(f"counts?by={','.join(dimensions)}")
        return rows

    def reset_counts(self) -> None:
        """Count from nought again."""
        self.post("counts/reset", {})

    def calls(self, since: int = 0) -> list[dict[str, Any]]:
        """The calls that ended after number `since`, oldest first, each with its `number`."""
        logged: list[dict[str, Any]] = self.get(f"calls?since={since}")
        return logged

    def faults(self, rules: list[dict[str, Any]]) -> None:
        """Put these fault rules in the place of all others; an empty list ends them."""
        self.post("faults", rules)

    def config(self, **settings: Any) -> dict[str, Any]:
        """Change settings; the answer shows all of them."""
        shown: dict[str, Any] = self.post("config", settings)
        return shown

    def seed(self, **estate: Any) -> dict[str, Any]:
        """Make an estate in bulk; the answer has its ids."""
        planted: dict[str, Any] = self.post("seed", estate)
        return planted

    def agents(self, account: str, agents: Any = "all", region: str = "us-east-1") -> list[str]:
        """Let these instances run an agent of Systems Manager, and no others there.

        Each is an id or an object such as `{"instance_id": ..., "online": False}`.
        """
        wanted = {"account": account, "region": region, "agents": agents}
        instances: list[str] = self.post("agents", wanted)["agents"]
        return instances

    def commands(self, account: str, *outcomes: Any, region: str = "us-east-1") -> None:
        """Say how commands will end there: objects with `status`, `output`, `seconds` and so on."""
        wanted = {"account": account, "region": region, "outcomes": list(outcomes)}
        self.post("commands", wanted)

    def finish(self, *ids: str) -> None:
        """Let pending snapshots, these or all, be over at once."""
        self.post("finish", {"ids": list(ids)})

    def fill(self, volume_id: str, *ranges: Mapping[str, Any]) -> None:
        """Fill ranges of a volume: objects with `pattern`, `start`, `count` and `seed`.

        The pattern is `random`, `text`, `repeated`, `zero` or `erase`.
        """
        self.post("blocks/fill", {"id": volume_id, "ranges": list(ranges)})

    def write_blocks(self, volume_id: str, start: int, data: bytes) -> None:
        """Write whole blocks of 512 KiB to a volume from block `start` on."""
        address = f"{self.control}/_ctl/blocks/data?id={volume_id}&start={start}"
        self._answer(urllib.request.Request(address, data=data, method="PUT"))  # noqa: S310

    def read_blocks(self, resource_id: str, start: int = 0, count: int = 1) -> bytes:
        """The bytes of blocks of a volume or snapshot; zeros where nothing was written."""
        query = f"id={resource_id}&start={start}&count={count}"
        address = f"{self.control}/_ctl/blocks/data?{query}"
        return self._answer(urllib.request.Request(address))  # noqa: S310

    def blocks(self, resource_id: str) -> dict[int, str]:
        """The SHA-256 of each block of a volume or snapshot that was ever written, by index."""
        shown = self.get(f"blocks?id={resource_id}")["blocks"]
        return {int(index): digest for index, digest in shown.items()}

    def differing(self, one_id: str, other_id: str) -> list[int]:
        """The indexes of the blocks in which two volumes or snapshots read differently."""
        found: list[int] = self.get(f"blocks/compare?a={one_id}&b={other_id}")["differing"]
        return found

    def reset(self) -> None:
        """Empty AWS: no resources, faults, counts, settings; accounts keep their keys."""
        self.post("reset", {})

    def get(self, path: str) -> Any:
        """The answer of a control that shows something."""
        return self._request(urllib.request.Request(f"{self.control}/_ctl/{path}"))  # noqa: S310

    def post(self, path: str, value: object) -> Any:
        """The answer of a control that changes something; raises SimulatorFailed on 400."""
        return self._request(
            urllib.request.Request(  # noqa: S310 - loopback, over http
                f"{self.control}/_ctl/{path}", data=json.dumps(value).encode(), method="POST"
            )
        )

    def _request(self, request: urllib.request.Request) -> Any:
        return json.loads(self._answer(request))

    def _answer(self, request: urllib.request.Request) -> bytes:
        try:
            with urllib.request.urlopen(request, timeout=_START_SECONDS) as answer:  # noqa: S310
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            with error:
                raise SimulatorFailed(error.read().decode()) from None

    def _command(self, ready_file: Path) -> list[str]:
        command = [sys.executable, "-m", "cpm.simulator", "--end-with-stdin"]
        command += ["--port", str(self._port), "--ready-file", str(ready_file)]
        for account in self._accounts:
            command += ["--account", account]
        if self._state_file is not None:
            command += ["--state", str(self._state_file)]
        return command

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise SimulatorFailed("the simulator is not running")
        return self._process

    def _last_words(self) -> str:
        return self.log_file.read_text(errors="replace")[-2000:]
