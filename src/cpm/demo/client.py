"""A small client of the REST API, as a user would write one: tokens, JSON, the server's CA."""

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

VERSION = "1.2.0"
TIMEOUT_SECONDS = 60


class Refused(Exception):
    """The server answered with an error; the message is what it said."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status}: {body}")
        self.status = status
        self.body = body


class ApiClient:
    """Calls the API as the owner of one API key."""

    def __init__(self, url: str, certificate: Path, api_key: str) -> None:
        self._base = f"{url}/api"
        self._tls = ssl.create_default_context(cafile=str(certificate))
        self._key = api_key
        self._access = ""

    def get(self, path: str) -> Any:
        """The decoded answer to GET."""
        return self._authorized("GET", path, None)

    def post(self, path: str, **body: Any) -> Any:
        """The decoded answer to POST."""
        return self._authorized("POST", path, body)

    def put(self, path: str, **body: Any) -> Any:
        """The decoded answer to PUT."""
        return self._authorized("PUT", path, body)

    def reachable(self) -> bool:
        """Whether the server answers at all."""
        try:
            self._send("GET", "/schema/", None, "")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        except Refused as refusal:
            return refusal.status < 500
        return True

    def _authorized(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        if not self._access:
            self._obtain()
        try:
            return self._send(method, path, body, self._access)
        except Refused as refusal:
            if refusal.status != 401:
                raise
        self._obtain()
        return self._send(method, path, body, self._access)

    def _obtain(self) -> None:
        answer = self._send("POST", "/token/obtain/api_key/", {"api_key": self._key}, "")
        self._access = answer["access"]

    def _send(self, method: str, path: str, body: dict[str, Any] | None, access: str) -> Any:
        headers = {"Accept": f"application/json; version={VERSION}"}
        if access:
            headers["Authorization"] = f"Bearer {access}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(  # noqa: S310 - the server's own https address
            self._base + path,
            method=method,
            headers=headers,
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, context=self._tls, timeout=TIMEOUT_SECONDS
            ) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace")) from error
        return json.loads(content) if content else None
