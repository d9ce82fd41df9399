"""Connections that are kept: to AWS, straight or by a proxy, for requests that come one by one."""

import os
import ssl
import threading
from base64 import b64encode
from collections import deque
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import unquote, urlsplit

from cpm.kernel.faults import Fault, FaultKind

# What a busy process has at most in use; more are closed when they are given back.
_MOST_IDLE = 64
_HTTPS = 443


@dataclass(frozen=True, slots=True)
class Origin:
    """Where requests go: a scheme, a host with its port, and the URL of a proxy, if any."""

    scheme: str
    host: str
    proxy: str = ""

    @property
    def prefix(self) -> str:
        """What stands before the path in a request: a proxy is told where to over http."""
        return f"http://{self.host}" if self.proxy and self.scheme == "http" else ""


class Connections:
    """The idle connections of a process, by origin. Thread-safe."""

    def __init__(self, ca_bundle: str | None = None) -> None:
        self._ca_bundle = ca_bundle
        self._idle: dict[Origin, deque[HTTPConnection]] = {}
        self._context: ssl.SSLContext | None = None
        self._lock = threading.Lock()

    def idle(self, origin: Origin) -> HTTPConnection | None:
        """One that was used before; the other side may have closed it meanwhile."""
        waiting = self._idle.get(origin)
        try:
            return waiting.pop() if waiting else None
        except IndexError:
            return None

    def new(self, origin: Origin, connect_seconds: float) -> HTTPConnection:
        """One that will connect when it is used; raises Fault for a proxy of an unknown kind."""
        near = (
            urlsplit(origin.proxy) if origin.proxy else urlsplit(f"{origin.scheme}://{origin.host}")
        )
        if origin.proxy and near.scheme != "http":
            text = f"a proxy is spoken to over http, not {near.scheme}"
            raise Fault(FaultKind.INVALID, text, code="ProxySchemeUnknown")
        host, port = near.hostname or "", near.port
        if origin.scheme != "https":
            return HTTPConnection(host, port, timeout=connect_seconds)
        made = HTTPSConnection(host, port, timeout=connect_seconds, context=self._tls())
        if origin.proxy:
            far = urlsplit(f"https://{origin.host}")
            made.set_tunnel(far.hostname or "", far.port or _HTTPS, proxy_headers(origin))
        return made

    def give_back(self, origin: Origin, connection: HTTPConnection) -> None:
        """Keep one for the next request."""
        waiting = self._idle.setdefault(origin, deque())
        if len(waiting) < _MOST_IDLE:
            waiting.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close all that are idle."""
        for waiting in self._idle.values():
            while waiting:
                waiting.pop().close()

    def _tls(self) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                bundle = self._ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE")
                self._context = ssl.create_default_context(cafile=bundle or None)
            return self._context


def proxy_headers(origin: Origin) -> dict[str, str]:
    """What a proxy wants to know of who asks."""
    proxy = urlsplit(origin.proxy)
    if not proxy.username:
        return {}
    who = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(who.encode()).decode()}"}
