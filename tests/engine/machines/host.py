"""The server as worker machines reach it, and machines that do what their user data says."""

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.core.wsgi import get_wsgi_application
from django.db import connection

from cpm.kernel import clock
from cpm.server import certificate
from tests.engine.world import REGION, World

# Stands for what a machine has: each is a program on its path.
_STAND_INS = {
    "cloud-init": 'echo "$CPM_TEST_INSTANCE"',
    "dnf": 'echo "dnf $*" >> "$CPM_TEST_HOME/calls"',
    "mktemp": 'echo "$CPM_TEST_HOME"',
    "nproc": "echo 1",
    "shutdown": 'echo "shutdown $*" >> "$CPM_TEST_HOME/calls"',
}


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        return


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            connection.close()


@dataclass
class Host:
    """The web server, under a name that is not only its own machine's."""

    port: int
    data: Path
    server: _Threaded | None = None

    @property
    def url(self) -> str:
        return f"https://{socket.gethostname()}:{self.port}"

    @property
    def certificate(self) -> Path:
        return self.data / "tls" / "certificate.pem"

    def start(self) -> None:
        """Answer, also after a stop: on the same port, with the same certificate."""
        key = self.data / "tls" / "key.pem"
        certificate.ensure(self.certificate, key, [])
        made = make_server(
            "0.0.0.0", self.port, get_wsgi_application(), _Threaded, handler_class=_Quiet
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        made.socket = context.wrap_socket(
            made.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = made.server_port
        self.server = made
        threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Answer nobody."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


@contextmanager
def hosting(data: Path) -> Iterator[Host]:
    """A host that answers."""
    host = Host(0, data)
    host.start()
    try:
        yield host
    finally:
        host.stop()


@dataclass
class Machine:
    """An instance, as far as it is more than a row in AWS: its user data under bash."""

    process: subprocess.Popen[bytes]
    home: Path

    @classmethod
    def boot(cls, world: World, instance_id: str, home: Path) -> "Machine":
        """Do what the instance's user data says."""
        programs = home / "bin"
        programs.mkdir(parents=True)
        python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        isolated = {python.name: f'exec {python} -S "$@"'}
        for name, text in {**_STAND_INS, **isolated}.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        script = home / "user-data"
        script.write_text(user_data(world, instance_id))
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "CPM_TEST_HOME": str(home),
            "CPM_TEST_INSTANCE": instance_id,
        }
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                ["/bin/bash", str(script)],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return cls(process, home)

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    @property
    def calls(self) -> list[str]:
        """What it has asked of the system."""
        return (self.home / "calls").read_text().splitlines()

    def begun_at(self) -> int:
        """The block from which it went on with its first range."""
        lines = (json.loads(line) for line in self.log.splitlines() if line.startswith("{"))
        return int(next(line["block"] for line in lines if line["event"] == "range.begun"))

    def kill(self) -> None:
        """End it as when the power fails."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def hold(self) -> None:
        """Let it do nothing for a while."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it work again."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def ends(self, seconds: float = 60) -> bool:
        """Whether it has come to its end by itself."""
        return clock.wait_until(lambda: self.process.poll() is not None, timeout_seconds=seconds)


def instances(world: World, *states: str) -> list[dict[str, Any]]:
    """The worker machines that AWS has."""
    filters = [{"Name": "tag:Name", "Values": ["CPMWorkerMachine"]}]
    filters += [{"Name": "instance-state-name", "Values": list(states)}] if states else []
    found = world.ec2(REGION).describe_instances(Filters=filters)["Reservations"]
    return [each for reservation in found for each in reservation["Instances"]]


def user_data(world: World, instance_id: str) -> str:
    """What an instance finds when it starts."""
    told = world.ec2(REGION).describe_instance_attribute(
        InstanceId=instance_id, Attribute="userData"
    )
    return base64.b64decode(told["UserData"]["Value"]).decode()
