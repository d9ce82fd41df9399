"""Everything on one machine: database, web server and workers under one supervisor."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import structlog

from cpm.config.environment import Environment
from cpm.postgres.process import EmbeddedPostgres
from cpm.server import certificate, ports
from cpm.server.children import Child, Command
from cpm.server.data import DataDirectory, Ownership
from cpm.server.dumping import DailyDump
from cpm.server.supervisor import Supervisor

_log = structlog.get_logger(__name__)


ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound


class StartFailed(Exception):
    """The server cannot start; the message says what to do."""


@dataclass(frozen=True)
class ServerOptions:
    """How to run; what is not said comes from the environment."""

    environment: Environment
    # Whether the children's output also goes to this process's stderr.
    echo: bool = True
    # Whether the embedded database survives a crash of the machine.
    durable: bool = True
    # Whether the caller holds the data directory (`Ownership`) already.
    is_owner: bool = False
    # For the children, beside this process's own.
    child_environment: dict[str, str] = field(default_factory=dict)


class AllInOne:
    """A whole server, from `with` to its end.

    Raises `DataDirectoryBusy`, `PortRefused`, `StartFailed` or a `PostgresError` when it cannot
    start; then nothing is left running.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._environment = options.environment
        self.data = DataDirectory(options.environment.data.absolute())
        self._stack = ExitStack()
        self._postgres: EmbeddedPostgres | None = None
        self._web: Child | None = None
        self._dumps = DailyDump(self.data.postgres, self.data.dumps)
        self._supervisor = Supervisor(look=self._keep_postgres, upkeep=self._upkeep)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The server's address as seen from this machine."""
        bind = self._environment.bind
        host = "localhost" if bind in ANY_ADDRESS else f"[{bind}]" if ":" in bind else bind
        port = "" if self._environment.port == 443 else f":{self._environment.port}"
        return f"https://{host}{port}"

    @property
    def child_environment(self) -> dict[str, str]:
        """What the children, and commands beside them, need to know."""
        return {
            **self._options.child_environment,
            "CPM_DATA": str(self.data.path),
            "DATABASE_URL": self._environment.database_url,
        }

    def run(self) -> None:
        """Looks after the processes until `ask_to_stop`."""
        self._supervisor.run()

    def ask_to_stop(self) -> None:
        """Ends `run` soon; callable from a signal handler and from any thread."""
        self._supervisor.ask_to_stop()

    @property
    def is_stopping(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._supervisor.is_stopping

    def _start(self) -> None:
        self.data.prepare()
        if not self._options.is_owner:
            self._stack.enter_context(Ownership(self.data))
        port = ports.claim(self._environment.bind, self._environment.port)
        self._environment = replace(self._environment, port=port)
        self._ensure_certificate()
        if not self._environment.database_url:
            self._start_postgres()
        self._migrate()
        self._supervisor.children = self._children()
        self._stack.callback(self._supervisor.stop_children)
        self._supervisor.start()

    def _start_postgres(self) -> None:
        postgres = EmbeddedPostgres(self.data.postgres, durable=self._options.durable)
        self._postgres = self._stack.enter_context(postgres)
        self._environment = replace(self._environment, database_url=postgres.uri)

    def _migrate(self) -> None:
        """Brings the database up to this version, in a process of its own."""
        done = subprocess.run(  # noqa: S603 - our own command line
            _cpm("migrate"),
            env={**os.environ, **self.child_environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StartFailed(f"The database could not be prepared:\n{done.stdout.strip()}")

    def _children(self) -> list[Child]:
        self._web = self._child(
            "web",
            _cpm("web", "--bind", self._environment.bind, "--port", str(self._environment.port)),
        )
        count = self._environment.workers
        return [
            self._web,
            *(self._child(f"worker-{n}", _cpm("worker")) for n in range(1, count + 1)),
        ]

    def _child(self, name: str, arguments: list[str]) -> Child:
        command = Command(name, arguments, self.child_environment)
        return Child(command, self.data.logs, echo=self._options.echo)

    def _ensure_certificate(self) -> bool:
        if self._environment.tls_certificate:
            return False
        names = [name for name in self._environment.hosts if name != "*"]
        # By which worker machines call it.
        url = urlsplit(self._environment.server_url)
        names += [url.hostname] if url.hostname and url.hostname not in names else []
        return certificate.ensure(self.data.certificate, self.data.private_key, names)

    def _upkeep(self) -> None:
        if self._ensure_certificate() and self._web is not None:
            _log.info("certificate renewed")
            self._web.signal(signal.SIGHUP)
        if self._postgres is not None and self._options.durable:
            self._dumps.make_if_due()

    def _keep_postgres(self) -> None:
        if self._postgres is not None and not self._postgres.is_alive():
            _log.error("the database's supervisor is gone, starting it again")
            self._postgres.start()


def _cpm(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "cpm", *arguments]


def certificate_files(environment: Environment) -> tuple[Path, Path]:
    """The certificate and key in use: the configured ones, else the data directory's own."""
    data = DataDirectory(environment.data)
    if environment.tls_certificate and environment.tls_key:
        return environment.tls_certificate, environment.tls_key
    certificate.ensure(data.certificate, data.private_key, [])
    return data.certificate, data.private_key
