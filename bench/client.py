"""A client without a network: requests go straight into Django's WSGI handler."""

import os
from collections.abc import Generator
from contextlib import closing, redirect_stderr
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler

from cpm.config import logs

ADDRESS = "192.0.2.7"


class _Start:
    """Takes note of how an answer begins, as a WSGI server does."""

    status = ""

    def __call__(self, status: str, headers: object, exc_info: object = None, /) -> Any:
        self.status = status


class Client:
    """Somebody with a token. Requests are logged as the server logs them, but to nowhere."""

    def __init__(self, token: str) -> None:
        settings.ROOT_URLCONF = "bench.urls"
        with redirect_stderr(Path(os.devnull).open("w")):
            logs.configure(settings.ENVIRONMENT)
        self._handler = WSGIHandler()
        self._environ = {
            "REQUEST_METHOD": "GET",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": ADDRESS,
            "HTTP_HOST": "localhost",
            "HTTP_AUTHORIZATION": f"Bearer {token}",
            "HTTP_ACCEPT": "application/json",
            "wsgi.url_scheme": "https",
        }

    def get(self, address: str) -> bytes:
        """The body of an answer; raises RuntimeError unless it is 200."""
        with closing(self.parts(address)) as parts:
            return b"".join(parts)

    def parts(self, address: str) -> Generator[bytes, None, None]:
        """The same, as it comes."""
        target = urlsplit(address)
        environ = {
            **self._environ,
            "PATH_INFO": target.path,
            "QUERY_STRING": target.query,
            "wsgi.input": BytesIO(),
        }
        start = _Start()
        response: Any = self._handler(environ, start)
        try:
            if start.status != "200 OK":
                raise RuntimeError(f"{address}: {start.status} {b''.join(response)[:500]!r}")
            yield from response
        finally:
            response.close()
