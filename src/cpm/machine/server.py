"""The server, as a worker machine sees it."""

import ssl
from pathlib import Path
from typing import TypeVar
from urllib.request import getproxies

import msgspec
import urllib3

from cpm.kernel import clock

T = TypeVar("T")

_TIMEOUT_SECONDS = 60.0
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 15.0
# What a server says that is being started, stopped, or without its database.
_AWAY = (429, 500, 502, 503, 504)


class Dismissed(Exception):
    """The server does not take the machine's token any longer: its work is over."""


class ServerAway(Exception):
    """The server has not answered for so long that somebody else does the work by now."""


class Refused(Exception):
    """The server does not accept what it was told; the message says why."""


class Server:
    """Asks the server, again and again while it is away. Thread-safe."""

    def __init__(
        self, url: str, token: str, ca_cert: Path | None = None, *, patience_seconds: float = 900.0
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._patience_seconds = patience_seconds
        self._pool = _pool(self._url, ca_cert)

    def ask(self, what: str, told: msgspec.Struct, answer: type[T]) -> T:
        """Tell the server something; its answer. Raises `Dismissed`, `ServerAway`, `Refused`."""
        body = msgspec.json.encode(told)
        deadline, wait = clock.monotonic() + self._patience_seconds, _FIRST_WAIT_SECONDS
        while (found := self._try(what, body)) is None:
            if clock.monotonic() >= deadline:
                raise ServerAway(self._url)
            clock.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
        return msgspec.json.decode(found, type=answer)

    def _try(self, what: str, body: bytes) -> bytes | None:
        headers = {**self._headers, "Content-Type": "application/json"}
        try:
            answer = self._pool.request(
                "POST", f"{self._url}/machines/{what}", body=body, headers=headers
            )
        except urllib3.exceptions.HTTPError:
            return None
        if answer.status == 401:
            raise Dismissed(self._url)
        if answer.status in _AWAY:
            return None
        if answer.status != 200:
            raise Refused(f"{what}: {answer.status} {answer.data.decode(errors='replace')}")
        return answer.data


def _pool(url: str, ca_cert: Path | None) -> urllib3.PoolManager:
    """Connections that trust the given certificate alone, by way of the environment's proxy."""
    trust = ssl.create_default_context(cafile=str(ca_cert) if ca_cert else None)
    # The file may hold the server's own certificate and not its issuer's.
    trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    options = {
        "ssl_context": trust,
        "timeout": urllib3.Timeout(_TIMEOUT_SECONDS),
        "retries": False,
        "maxsize": 8,
    }
    proxy = getproxies().get(url.partition(":")[0])
    if proxy:
        return urllib3.ProxyManager(proxy, **options)  # type: ignore[arg-type]  # as PoolManager's
    return urllib3.PoolManager(**options)  # type: ignore[arg-type]  # each is what it takes
