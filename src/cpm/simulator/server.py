"""The simulator's HTTP server: threads, keep-alive, and connections that can be cut."""

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import BaseWSGIServer, make_server

from cpm.simulator import control, credentials, services, web
from cpm.simulator.simulation import Simulation
from cpm.simulator.web import ConnectionCut

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How to serve. Port 0 lets the system choose; `state_file` None forgets all at the end."""

    host: str = "127.0.0.1"
    port: int = 0
    accounts: tuple[str, ...] = ()
    state_file: Path | None = None
    ready_file: Path | None = None


class Front:
    """The WSGI application: control requests to one side, AWS's to the other."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def __call__(self, environment: web.WsgiEnvironment, start_response: Any) -> Iterable[bytes]:
        request = web.read(environment)
        try:
            if request.path.startswith(control.PREFIX):
                answer = control.answer(self._simulation, request)
            else:
                answer = self._simulation.answer(request)
        except ConnectionCut:
            _cut(environment)
        start_response(_status_line(answer.status), _headers(answer, request.method))
        return [answer.body]


def serve(options: Options, stop: threading.Event | None = None) -> None:
    """Serve until `stop` is set or the process is told to end; then save the state."""
    stopped = stop or threading.Event()
    simulation = prepare(options)
    server = _listen(options, Front(simulation))
    threading.Thread(target=server.serve_forever, name="simulator", daemon=True).start()
    try:
        _end_on_signals(stopped)
        _write_ready_file(options, server)
        stopped.wait()
    finally:
        server.shutdown()
        server.server_close()


def prepare(options: Options) -> Simulation:
    """A simulation with the state and the accounts that `options` name."""
    os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    os.environ.setdefault("MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS", "false")
    simulation = Simulation(handlers=services.install())
    for account in options.accounts:
        credentials.open_account(account)
    return simulation


def _listen(options: Options, front: Front) -> BaseWSGIServer:
    return make_server(
        options.host, options.port, front, threaded=True, request_handler=_RequestHandler
    )


def _end_on_signals(stopped: threading.Event) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())


def _write_ready_file(options: Options, server: BaseWSGIServer) -> None:
    endpoint = f"http://{options.host}:{server.server_port}"
    _log.info("the simulator answers at %s", endpoint)
    if options.ready_file is None:
        return
    ready = {
        "endpoint": endpoint,
        "control": endpoint,
        "pid": os.getpid(),
        "accounts": [asdict(credentials.open_account(item)) for item in credentials.accounts()],
    }
    draft = options.ready_file.with_suffix(".draft")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(ready))
    draft.replace(options.ready_file)


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

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Calls are counted and logged elsewhere."""
