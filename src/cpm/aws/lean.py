"""The calls that carry the archive's data, without the SDK's cost: three times as many a second.

The SDK still says where to (endpoints, regions, FIPS, dual stack, overrides), by what keys, and
what an error means, so that a call fails here exactly as it would by `Aws.call`. Bodies are bytes.
Every call made here may be made twice: nothing else belongs here.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError, create_parser
from botocore.utils import get_environ_proxies

from cpm.aws import signing
from cpm.aws.callers import signed_by
from cpm.aws.connections import Origin, proxy_headers
from cpm.aws.credentials import Keys
from cpm.aws.errors import fault_of, is_expired
from cpm.aws.pace import Pace
from cpm.aws.sessions import CONNECT_SECONDS, READ_SECONDS, USER_AGENT, Aws
from cpm.kernel import clock, counters
from cpm.kernel.faults import Fault, FaultKind

_HTTP_ERRORS = 300

_asking: ContextVar[bool] = ContextVar("asking", default=False)


@dataclass(frozen=True, slots=True)
class Request:
    """One request below an endpoint: path and query are encoded, header names in lower case.

    The last part of the body is sent when `before_end` has returned, and never if that raises.
    """

    operation: str
    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Sequence[bytes] = ()
    before_end: Callable[[], None] | None = None


class Answer(NamedTuple):
    """What AWS answered with success; header names are in any case."""

    headers: Any
    body: bytes


class _Address(Exception):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class Lean:
    """Requests to one endpoint of one service, on connections that stay. Thread-safe.

    `probe` is an operation and parameters by which the SDK finds the endpoint; `cut` is how much of
    its path belongs to the operation and not to the endpoint.
    """

    def __init__(self, aws: Aws, service: str, probe: str, cut: str, **parameters: Any) -> None:
        self._aws = aws
        self._service = service
        self._probe = probe
        self._cut = cut
        self._parameters = parameters
        self._found: tuple[Origin, str] | None = None
        self._paces: dict[str, Pace] = {}

    def send(self, request: Request) -> Answer:
        """Wait for a turn, and call AWS; raises the Fault that `Aws.call` would."""
        pace = self._pace(request.operation)
        pace.take()
        aws = self._aws
        keys = aws.cloud.keys(aws.credentials, aws.region)
        try:
            return self._counted(keys, request, pace)
        except Fault as fault:
            if not is_expired(fault) or not aws.cloud.forget(aws.credentials, keys):
                raise
        return self._counted(aws.cloud.keys(aws.credentials, aws.region), request, pace)

    def _pace(self, operation: str) -> Pace:
        found = self._paces.get(operation)
        if found is None:
            name = f"{self._service}:{operation}"
            found = self._paces.setdefault(operation, Pace(self._aws, name))
        return found

    def _counted(self, keys: Keys, request: Request, pace: Pace) -> Answer:
        began = clock.monotonic()
        try:
            answer = self._exchange(keys, request)
        except Fault as fault:
            self._aws.record(self._service, request.operation, began, fault)
            if fault.kind is FaultKind.THROTTLED:
                name = {"service": self._service, "action": request.operation}
                counters.count("cpm_aws_throttles_total", **name)
                pace.throttled()
            raise
        self._aws.record(self._service, request.operation, began)
        return answer

    def _exchange(self, keys: Keys, request: Request) -> Answer:
        sending = self._sending(keys, request)
        try:
            response, body = self._talk(sending)
        except (OSError, HTTPException) as error:
            raise self._unanswered(error, request) from error
        if response.status >= _HTTP_ERRORS:
            raise self._refused(request, response, body)
        return Answer(response.headers, body)

    def _sending(self, keys: Keys, request: Request) -> "_Sending":
        origin, prefix = self._found or self._find(keys)
        headers = signing.signed(
            signing.Scope(keys, self._aws.region, self._service),
            signing.Line(request.method, prefix + request.path, request.query),
            {"host": origin.host, **request.headers},
            signing.UNSIGNED if request.body else signing.EMPTY,
            clock.now(),
        )
        headers["user-agent"] = self._agent()
        if origin.prefix:
            headers |= proxy_headers(origin)
        if request.method != "GET":
            headers["content-length"] = str(sum(map(len, request.body)))
        query = f"?{request.query}" if request.query else ""
        return _Sending(origin, request, f"{origin.prefix}{prefix}{request.path}{query}", headers)

    def _talk(self, sending: "_Sending") -> tuple[HTTPResponse, bytes]:
        connections = self._aws.cloud.connections
        idle = connections.idle(sending.origin)
        if idle is not None:
            try:
                return self._on(idle, sending)
            except (ConnectionError, HTTPException):
                pass  # closed since; a new one will tell
        return self._on(connections.new(sending.origin, CONNECT_SECONDS), sending)

    def _on(self, connection: HTTPConnection, sending: "_Sending") -> tuple[HTTPResponse, bytes]:
        try:
            sending.write(connection)
            response = connection.getresponse()
            body = response.read()
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._aws.cloud.connections.give_back(sending.origin, connection)
        return response, body

    def _agent(self) -> str:
        correlation_id = self._aws.correlation_id
        return f"{USER_AGENT} cpm/{correlation_id}" if correlation_id else USER_AGENT

    def _find(self, keys: Keys) -> tuple[Origin, str]:
        """Where the SDK would send the probe."""
        url = urlsplit(self._address(keys))
        proxies = self._aws.cloud.proxies or get_environ_proxies(url.geturl())
        origin = Origin(url.scheme, url.netloc, proxies.get(url.scheme) or "")
        self._found = origin, url.path.removesuffix(self._cut)
        return self._found

    def _address(self, keys: Keys) -> str:
        client = self._client()
        client.meta.events.register_first("before-send", _only_tell, unique_id="cpm-address")
        marker = _asking.set(True)
        try:
            with signed_by(keys):
                getattr(client, xform_name(self._probe))(**self._parameters)
        except _Address as address:
            return address.url
        except (BotoCoreError, ClientError) as error:
            raise fault_of(error, f"{self._service}:{self._probe}", is_read=True) from error
        finally:
            _asking.reset(marker)
        raise AssertionError("a call that was to be kept from being sent was sent")

    def _client(self) -> Any:
        return self._aws.cloud.client(self._aws.region, self._service, is_read=False)

    def _unanswered(self, error: Exception, request: Request) -> Fault:
        operation = f"{self._service}:{request.operation}"
        if isinstance(error, OSError):
            return fault_of(error, operation, is_read=request.method == "GET")
        kind = FaultKind.TRANSIENT if request.method == "GET" else FaultKind.UNKNOWN
        return Fault(kind, str(error), operation=operation, code=type(error).__name__)

    def _refused(self, request: Request, response: HTTPResponse, body: bytes) -> Fault:
        """AWS's refusal, read by the SDK's own parser."""
        operation = f"{self._service}:{request.operation}"
        model = self._client().meta.service_model
        answer = {
            "status_code": response.status,
            "headers": {name.lower(): value for name, value in response.headers.items()},
            "body": body,
            "context": {"operation_name": request.operation},
        }
        shape = model.operation_model(request.operation).output_shape
        error: Exception
        try:
            parsed = create_parser(model.metadata["protocol"]).parse(answer, shape)
            error = ClientError(parsed, request.operation)
        except ResponseParserError as unreadable:
            error = unreadable
        return fault_of(error, operation, is_read=request.method == "GET")


@dataclass(frozen=True, slots=True)
class _Sending:
    """A request as it goes out to an origin."""

    origin: Origin
    request: Request
    target: str
    headers: Mapping[str, str]

    def write(self, connection: HTTPConnection) -> None:
        if connection.sock is None:
            connection.connect()
        if isinstance(connection.sock, socket.socket):
            connection.sock.settimeout(READ_SECONDS)
        method = self.request.method
        connection.putrequest(method, self.target, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        for part in self.request.body[:-1]:
            connection.send(part)
        if self.request.before_end is not None:
            self.request.before_end()
        for part in self.request.body[-1:]:
            connection.send(part)


def _only_tell(request: Any, **_: Any) -> None:
    if _asking.get():
        raise _Address(request.url)
