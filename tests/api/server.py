"""A real web server for tests of what only a real one does: TLS, keep-alive, streams."""

import http.client
import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from cpm.kernel import clock
from cpm.postgres.process import EmbeddedPostgres
from cpm.server import ports

START_SECONDS = 600.0
_CPM = (sys.executable, "-m", "cpm")


class WebServer:
    """`cpm web` on a port and with a database of its own."""

    def __init__(self, directory: Path, **variables: str) -> None:
        self.database = EmbeddedPostgres(directory / "postgres", durable=False)
        self.database.start()
        self.port = ports.claim("127.0.0.1", 0)
        self._data = directory
        self._variables = variables
        self._output = directory / "output"
        self._cpm("migrate")
        self.key = self._cpm("apikey", "create", "root").splitlines()[-1]
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [*_CPM, "web", "--bind", "127.0.0.1", "--port", str(self.port)],
                env=self._environment,
                stdout=output,
                stderr=output,
            )

    def __enter__(self) -> Self:
        answers = clock.wait_until(
            lambda: self._answers() or self._process.poll() is not None,
            timeout_seconds=START_SECONDS,
        )
        assert answers, self.output
        assert self._process.poll() is None, self.output
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.wait(START_SECONDS)
        self.database.stop()

    @property
    def _environment(self) -> dict[str, str]:
        ours = {"DATABASE_URL": self.database.uri, "CPM_DATA": str(self._data)}
        return {**os.environ, **ours, **self._variables}

    def _cpm(self, *arguments: str) -> str:
        """What a command prints."""
        command = [*_CPM, *arguments]
        return subprocess.run(
            command, env=self._environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    @property
    def output(self) -> str:
        """What the server has logged."""
        return self._output.read_text()

    def memory_kib(self) -> int:
        """What the processes of the server hold of the machine's memory, all together."""
        me = self._process.pid
        workers = Path(f"/proc/{me}/task/{me}/children").read_text().split()
        sizes = [Path(f"/proc/{pid}/status").read_text() for pid in workers]
        return sum(int(re.findall(r"VmRSS:\s+([0-9]+)", size)[0]) for size in sizes)

    def connect(self) -> http.client.HTTPSConnection:
        """A connection that trusts the server's certificate, and stays open."""
        trusted = ssl.create_default_context(cafile=str(self._data / "tls" / "certificate.pem"))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=trusted)

    def _answers(self) -> bool:
        try:
            with closing(self.connect()) as connection:
                connection.request("GET", "/healthz")
                return connection.getresponse().status == 200
        except OSError:
            return False


class Connection:
    """One connection of root's, used for request after request."""

    def __init__(self, server: WebServer) -> None:
        self.raw = server.connect()
        self._headers: dict[str, str] = {}
        _answer, pair = self.send(
            "POST", "/token/obtain/api_key/", f"api_key={server.key}".encode()
        )
        self._headers = {"Authorization": f"Bearer {pair['access']}"}

    def open(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        base: str = "/api",
    ) -> http.client.HTTPResponse:
        """Send a request and return the answer before its body is read."""
        chunked = body is not None and not isinstance(body, bytes)
        sent = {**self._headers, **(headers or {})}
        sent |= {"Transfer-Encoding": "chunked"} if chunked else {}
        self.raw.request(method, f"{base}{path}", body, sent, encode_chunked=chunked)
        return self.raw.getresponse()

    def send(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, Any]:
        """Send a request; the answer and what its body says."""
        response = self.open(method, path, body, headers)
        text = response.read()
        return response, json.loads(text) if text else None
