"""One HTTP request and one HTTP answer, read whole: what every other module here works with."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

WsgiEnvironment = dict[str, Any]


class ConnectionCut(Exception):
    """There is no whole answer, or no whole request: the connection ends here."""


@dataclass(frozen=True)
class Request:
    """A request with its body in memory, so that no lock is ever held while a client sends."""

    method: str
    raw_path: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    environment: WsgiEnvironment

    @cached_property
    def body_digest(self) -> bytes:
        """The SHA-256 of the body, which signatures and checksums need alike."""
        return hashlib.sha256(self.body).digest()

    def parameters(self) -> dict[str, str]:
        """The query string's parameters; a form body's come on top."""
        found = dict(parse_qsl(self.query, keep_blank_values=True))
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            found.update(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))
        return found


@dataclass
class Answer:
    """What goes back: status, headers and a body in memory."""

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)


def read(environment: WsgiEnvironment) -> Request:
    """The request behind a WSGI environment, its body read to the end.

    Raises `ConnectionCut` for a body that breaks off: AWS does nothing about such a request.
    """
    raw = environment.get("RAW_URI") or environment.get("REQUEST_URI") or environment["PATH_INFO"]
    return Request(
        method=environment["REQUEST_METHOD"],
        raw_path=raw.split("?", 1)[0] or "/",
        path=environment["PATH_INFO"],
        query=environment.get("QUERY_STRING", ""),
        headers=_headers(environment),
        body=_body(environment),
        environment=environment,
    )


def json_answer(value: object, status: int = 200) -> Answer:
    """`value` as a JSON body."""
    return Answer(status, json.dumps(value).encode(), [("Content-Type", "application/json")])


def _headers(environment: WsgiEnvironment) -> dict[str, str]:
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environment.items()
        if name.startswith("HTTP_")
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environment.get(name):
            headers[name.replace("_", "-").lower()] = environment[name]
    return headers


def _body(environment: WsgiEnvironment) -> bytes:
    stream = environment["wsgi.input"]
    if environment.get("wsgi.input_terminated"):
        return bytes(stream.read())
    length = int(environment.get("CONTENT_LENGTH") or 0)
    body = bytes(stream.read(length))
    if len(body) < length:
        raise ConnectionCut
    return body
