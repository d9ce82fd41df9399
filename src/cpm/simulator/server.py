"""The simulator's HTTP server: threads, keep-alive, and connections that can be cut."""

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import BaseWSGIServer, make_server

from cpm.kernel import clock, memory
from cpm.kernel.signals import stop_signals
from cpm.simulator import control, credentials, services, state, web
from cpm.simulator.credentials import AccountKey
from cpm.simulator.simulation import Simulation
from cpm.simulator.state import Keeper
from cpm.simulator.web import ConnectionCut

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Options:
    """How to serve. Port 0 lets the system choose; `state_file` None forgets all at the end."""

    host: str = "127.0.0.1"
    port: int = 0
    accounts: tuple[str, ...] = ()
    state_file: Path | None = None
    ready_file: Path | None = None


@dataclass(frozen=True)
class Ready:
    """Where a simulator answers, and with which keys; the ready file holds the same as JSON."""

    endpoint: str
    control: str
    pid: int
    accounts: tuple[AccountKey, ...]


class Front:
    """The WSGI application: control requests to one side, AWS's to the other."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def __call__(self, environment: web.WsgiEnvironment, start_response: Any) -> Iterable[bytes]:
        try:
            request = web.read(environment)
            if request.path.startswith(control.PREFIX):
                answer = control.answer(self._simulation, request)
            else:
                answer = self._simulation.answer(request)
        except ConnectionCut:
            _cut(environment)
        start_response(_status_line(answer.status), _headers(answer, request.method))
        return [answer.body]


def serve(
    options: Options,
    stop: threading.Event | None = None,
    on_ready: Callable[[Ready], None] | None = None,
) -> None:
    """Serve until `stop` is set or the process is told to end; then save the state.

    `on_ready` is told the address and the keys once everything answers. Raises StateRefused, and
    OSError when the port is taken.
    """
    stopped = stop or threading.Event()
    simulation = _prepare(options)
    server = _listen(options, Front(simulation))
    memory.settle()
    threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()
    keeper = Keeper(simulation, options.state_file) if options.state_file else None
    try:
        if keeper is not None:
            keeper.start()
        with _ended_by_signals(stopped):
            _announce(options, server, on_ready)
            stopped.wait()
    finally:
        server.shutdown()
        server.server_close()
        if keeper is not None:
            keeper.finish()


def _prepare(options: Options) -> Simulation:
    os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    os.environ.setdefault("MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS", "false")
    simulation = Simulation(handlers=services.install())
    if options.state_file is not None:
        state.load(simulation, options.state_file)
    for account in options.accounts:
        credentials.open_account(account)
    return simulation


def _listen(options: Options, front: Front) -> BaseWSGIServer:
    return make_server(
        options.host, options.port, front, threaded=True, request_handler=_RequestHandler
    )


def _ended_by_signals(stopped: threading.Event) -> AbstractContextManager[None]:
    is_main = threading.current_thread() is threading.main_thread()
    return stop_signals(stopped.set) if is_main else nullcontext()


def _announce(
    options: Options, server: BaseWSGIServer, on_ready: Callable[[Ready], None] | None
) -> None:
    endpoint = f"http://{options.host}:{server.server_port}"
    keys = tuple(credentials.open_account(item) for item in credentials.accounts())
    ready = Ready(endpoint, endpoint, os.getpid(), keys)
    _log.info("the simulator answers at %s", endpoint)
    if options.ready_file is not None:
        _write_ready_file(options.ready_file, ready)
    if on_ready is not None:
        on_ready(ready)


def _write_ready_file(path: Path, ready: Ready) -> None:
    draft = path.with_name(path.name + ".draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(asdict(ready)))
    draft.replace(path)


def _cut(environment: web.WsgiEnvironment) -> None:
    connection: socket.socket = environment["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError("cut on purpose")


def _status_line(status: int) -> str:
    return f"{status} {_PHRASES.get(status, 'Answer')}"


_PHRASES = {200: "OK", 204: "No Content", 206: "Partial Content", 400: "Bad Request"}


def _headers(answer: web.Answer, method: str) -> list[tuple[str, str]]:
    length = ("Content-Length", str(len(answer.body)))
    if method == "HEAD" or answer.status in (204, 304):
        return answer.headers
    return [item for item in answer.headers if item[0].lower() != "content-length"] + [length]


class _RequestHandler(MotoRequestHandler):
    """Keep-alive without Nagle's delay, and without a line of log for each request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The time by the simulator's clock, as everything else here tells it."""
        return super().date_time_string(timestamp or clock.now().timestamp())

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Calls are counted and logged elsewhere."""
