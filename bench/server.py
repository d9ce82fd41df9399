"""The web server as operators run it: processes of its own, a socket, TLS."""

import http.client
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cpm.kernel import clock
from cpm.server import ports

_HOST = "127.0.0.1"
_LONGEST_SECONDS = 60.0


@dataclass(frozen=True)
class Address:
    """Where a server listens, and the certificate that it has."""

    port: int
    certificate: Path

    def connect(self) -> http.client.HTTPSConnection:
        """A connection that stays open from request to request."""
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        return http.client.HTTPSConnection(
            _HOST, self.port, timeout=_LONGEST_SECONDS, context=trusted
        )


@contextmanager
def running_server() -> Iterator[Address]:
    """`cpm web` on the benchmark's database."""
    with tempfile.TemporaryDirectory(prefix="cpm-bench-") as data:
        address = Address(ports.claim(_HOST, 0), Path(data) / "tls" / "certificate.pem")
        log_file = Path(data) / "log"
        with log_file.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "cpm", "web", "--bind", _HOST, "--port", str(address.port)],
                env={**os.environ, "CPM_DATA": data},
                stdout=log,
                stderr=log,
            )
        try:
            if not clock.wait_until(lambda: _answers(address), timeout_seconds=_LONGEST_SECONDS):
                raise RuntimeError(f"the server does not answer: {log_file.read_text()}")
            yield address
        finally:
            process.terminate()
            process.wait(_LONGEST_SECONDS)


def _answers(address: Address) -> bool:
    try:
        with closing(address.connect()) as connection:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
    except OSError:
        return False
