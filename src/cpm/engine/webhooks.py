"""Webhooks: messages posted to an address of the user's choice, signed with a secret that he knows.

The address may be anybody's, so the server does not let itself be sent where it alone may go: only
to public addresses, or to networks that the operator names. Nothing is followed or read beyond the
status, and whatever the receiver does, it is over after a fixed time.
"""

import base64
import hashlib
import hmac
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib.metadata import version
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from cpm.aws.sessions import Proxy
from cpm.config.secrets import SealBroken
from cpm.engine import accounts
from cpm.engine.messages import Message
from cpm.kernel import clock
from cpm.kernel.faults import Fault, FaultKind
from cpm.models.notifications import Channel

# For connecting, and for everything after that.
TIMEOUT_SECONDS = 10
_PORTS = {"http": 80, "https": 443}
_OWN_NETWORKS = "CPM_WEBHOOK_NETWORKS"


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What a receiver compares with the header, before he believes anything."""
    signed = timestamp.encode() + b"." + body
    return "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def refusal(url: str) -> str:
    """Why no webhook may go to this address, as far as one can see from it; empty if it may."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        return "No user name or password in the address: the signature proves who sends."
    if parts.scheme.lower() != "https" and not settings.ENVIRONMENT.webhook_networks:
        return f"It has to be https; http only where {_OWN_NETWORKS} names networks."
    try:
        address = ip_address(parts.hostname or "")
    except ValueError:
        return ""
    return "" if _may_go(address, parts.scheme) else f"Not to {address}; see {_OWN_NETWORKS}."


def post(channel: Channel, message: Message) -> None:
    """Post a message; raises Fault unless the receiver answers that he has it (2xx)."""
    target, body = urlsplit(channel.url), message.body.encode()
    timestamp = str(int(clock.now().timestamp()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"cpm-server/{version('cpm-server')}",
        "CPM-Delivery-Id": message.key,
        "CPM-Timestamp": timestamp,
        "CPM-Signature": signature(_secret(channel), timestamp, body),
    }
    path = f"{target.path or '/'}{'?' + target.query if target.query else ''}"
    try:
        with _connection(target) as connection:
            connection.request("POST", path, body, headers)
            status = connection.getresponse().status
    except (OSError, HTTPException, UnicodeError) as error:
        raise Fault(FaultKind.TRANSIENT, f"{type(error).__name__}: {error}") from error
    if not 200 <= status < 300:
        raise Fault(FaultKind.TRANSIENT, f"the receiver answered {status}")


@contextmanager
def _connection(target: SplitResult) -> Iterator[HTTPConnection]:
    """A connection to the receiver that is cut when its time is up, whatever it is doing."""
    proxy = accounts.proxy()
    connection = _through(proxy, target) if proxy else _direct(target)
    timer = threading.Timer(TIMEOUT_SECONDS, _cut, [connection])
    timer.daemon = True
    timer.start()
    try:
        yield connection
    finally:
        timer.cancel()
        connection.close()


def _cut(connection: HTTPConnection) -> None:
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _through(proxy: Proxy, target: SplitResult) -> HTTPConnection:
    """By way of the proxy, which finds the address itself, and decides where one may go."""
    if target.scheme.lower() != "https" or refusal(target.geturl()):
        raise Fault(FaultKind.INVALID, "through a proxy only to https addresses that are public")
    login = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
    headers = {"Proxy-Authorization": f"Basic {login}"} if proxy.user else {}
    connection = HTTPSConnection(
        proxy.host, proxy.port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context()
    )
    connection.set_tunnel(target.hostname or "", target.port or _PORTS["https"], headers)
    return connection


def _direct(target: SplitResult) -> HTTPConnection:
    """To the address that was checked: asked again, a name might mean another one."""
    scheme, host = target.scheme.lower(), target.hostname or ""
    port = target.port or _PORTS[scheme]
    plain = _socket(host, port, scheme)
    connection = HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    connection.default_port = _PORTS[scheme]  # what the Host header leaves out
    connection.sock = plain
    if scheme == "https":
        try:
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise
    return connection


def _socket(host: str, port: int, scheme: str) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    permitted = [str(each[4][0]) for each in found if _may_go(ip_address(each[4][0]), scheme)]
    if not permitted:
        raise Fault(FaultKind.INVALID, f"{host} is no address to go to; see {_OWN_NETWORKS}")
    trouble = OSError("nobody answers")
    for address in permitted:
        try:
            return socket.create_connection((address, port), TIMEOUT_SECONDS / len(permitted))
        except OSError as error:
            trouble = error
    raise trouble


def _may_go(address: IPv4Address | IPv6Address, scheme: str) -> bool:
    """Whether webhooks may go there: anywhere public by https, or where the operator says so."""
    meant = getattr(address, "ipv4_mapped", None) or address
    if any(meant in ip_network(network) for network in settings.ENVIRONMENT.webhook_networks):
        return True
    return scheme.lower() == "https" and meant.is_global and not meant.is_multicast


def _secret(channel: Channel) -> str:
    try:
        return settings.SEALER.open(bytes(channel.sealed_secret or b""))
    except SealBroken:
        message = "the secret was sealed with another server's key; enter it again"
        raise Fault(FaultKind.INVALID, message) from None
