"""Those who receive messages in tests: a web server and an SMTP server, on loopback, with TLS."""

import base64
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cpm.server import certificate

# A name that nobody but a proxy can make anything of.
HOST = "hooks.example.com"


@dataclass(frozen=True)
class Posted:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted, and answers with `status`; with `drips` it never comes to an end."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: list[Posted] = []
        self.status = 200
        self.drips = False
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}/hook?x=1"

    @property
    def events(self) -> list[list[tuple[str, str]]]:
        """What happened to which alert, message by message."""
        return [
            [(each["event"], each["title"]) for each in posted.json["alerts"]]
            for posted in self.posted
        ]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append(Posted(self.path, dict(self.headers.items()), body))
        if self.server.drips:
            self._drip()
            return
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _drip(self) -> None:
        waiting = threading.Event()
        try:
            self.wfile.write(b"H")
            while not waiting.wait(0.05):
                self.wfile.write(b"x")
        except OSError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def receiver(tls: Path | None = None) -> Iterator[Receiver]:
    """A web server that runs as long as the context lasts, by https where there is a folder."""
    with Receiver() as server:
        if tls is not None:
            server.scheme = "https"
            server.socket = _context(tls).wrap_socket(server.socket, server_side=True)
        with _serving(server):
            yield server


def _context(folder: Path) -> ssl.SSLContext:
    """TLS with a certificate for loopback and `HOST`, which is made in the folder."""
    pair = folder / "certificate.pem", folder / "key.pem"
    certificate.ensure(*pair, [HOST])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    return context


class MailServer(socketserver.ThreadingTCPServer):
    """An SMTP server that keeps letters, wants STARTTLS and knows one user."""

    daemon_threads = True
    USER, PASSWORD = "anna", "s3cret of the mail"

    def __init__(self, tls: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.context = _context(tls)
        self.letters: list[EmailMessage] = []
        self.refuses = ""

    def handle_error(self, *_: Any) -> None:
        """Some clients do not trust this one."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Session(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self._is_safe = self._is_known = False
        self._say("220 mail.example.com")
        while line := self.rfile.readline():
            if not self._answer(line.decode().strip()):
                return

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def _answer(self, line: str) -> bool:
        verb = line.split(maxsplit=1)[0].upper()
        if verb == "EHLO":
            self._say("250-mail.example.com", "250 AUTH PLAIN" if self._is_safe else "250 STARTTLS")
        elif verb == "STARTTLS":
            self._say("220 go ahead")
            self._secure()
        elif verb == "AUTH":
            self._authenticate(line)
        elif verb == "RCPT" and self.server.refuses:
            self._say(self.server.refuses)
        elif verb == "DATA" and self._is_known:
            self._take()
        elif verb == "QUIT":
            self._say("221 bye")
            return False
        else:
            self._say("250 fine")
        return True

    def _secure(self) -> None:
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)
        self._is_safe = True

    def _authenticate(self, line: str) -> None:
        said = base64.b64decode(line.split()[2]).split(b"\0")[1:]
        self._is_known = said == [self.server.USER.encode(), self.server.PASSWORD.encode()]
        self._say("235 welcome" if self._is_known else "535 5.7.8 who is that?")

    def _take(self) -> None:
        self._say("354 tell me")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line)
        letter = message_from_bytes(b"".join(lines), policy=default)
        assert isinstance(letter, EmailMessage)
        self.server.letters.append(letter)
        self._say("250 taken")

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


@contextmanager
def mail_server(tls: Path) -> Iterator[MailServer]:
    """An SMTP server that runs as long as the context lasts."""
    with MailServer(tls) as server, _serving(server):
        yield server


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
