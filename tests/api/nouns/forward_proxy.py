"""A forward proxy that wants to know who asks, and remembers what for."""

import base64
import http.client
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

USER, PASSWORD = "anna", "s3cret: pass"
_EXPECTED = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_OWN_HEADERS = {"proxy-authorization", "proxy-connection", "connection", "transfer-encoding"}


class ForwardProxy(ThreadingHTTPServer):
    """Listens on loopback; `asked` are the addresses that it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        # Where every tunnel leads, whatever it is asked for.
        self.tunnels_to = ("127.0.0.1", 1)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ForwardProxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Proxy-Authorization") != _EXPECTED:
            self._reply(407, [("Proxy-Authenticate", "Basic")], b"")
            return
        self.server.asked.append(self.path)
        where = urlsplit(self.path)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _OWN_HEADERS}
        upstream = http.client.HTTPConnection(where.netloc, timeout=60)
        path = f"{where.path or '/'}{'?' + where.query if where.query else ''}"
        upstream.request(self.command, path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in _OWN_HEADERS]
        self._reply(answer.status, kept, content)

    def do_CONNECT(self) -> None:
        if self.headers.get("Proxy-Authorization") != _EXPECTED:
            self._reply(407, [("Proxy-Authenticate", "Basic")], b"")
            return
        self.server.asked.append(self.path)
        with socket.create_connection(self.server.tunnels_to) as upstream:
            self._reply(200, [], b"")
            sides = {self.connection: upstream, upstream: self.connection}
            while all(_passed_on(side, sides[side]) for side in select.select(sides, [], [])[0]):
                pass
        self.close_connection = True

    do_GET = do_POST  # noqa: N815 - the base class finds it by this name

    def _reply(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _passed_on(side: socket.socket, other: socket.socket) -> bool:
    """Whether there was anything to hand to the other side."""
    said = side.recv(65536)
    other.sendall(said)
    return bool(said)


@contextmanager
def forward_proxy() -> Iterator[ForwardProxy]:
    """A proxy that runs as long as the context lasts."""
    with ForwardProxy() as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()
