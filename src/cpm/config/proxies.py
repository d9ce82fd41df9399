"""Where a request comes from, also when proxies have handed it on.

Every proxy adds the address that called it to the end of `X-Forwarded-For`. What stands there is
worth what whoever wrote it is worth, so it is read from the end, and no further than the proxies
are trusted: the rest may be anybody's invention.
"""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest
from django.http.response import HttpResponseBase

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
View = Callable[[HttpRequest], HttpResponseBase]


def middleware(get_response: View) -> View:
    """Let `REMOTE_ADDR` be the client's address, for everything that asks where he is."""
    trusted = [ip_network(each) for each in settings.ENVIRONMENT.trusted_proxies]
    if not trusted:
        raise MiddlewareNotUsed

    def handle(request: HttpRequest) -> HttpResponseBase:
        peer = request.META.get("REMOTE_ADDR", "")
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
        request.META["REMOTE_ADDR"] = client_address(peer, forwarded, trusted)
        return get_response(request)

    return handle


def client_address(peer: str, forwarded: str, trusted: Iterable[Network]) -> str:
    """The farthest address that is not merely somebody's word.

    `peer` is who has called us, `forwarded` the header as it came.
    """
    networks = tuple(trusted)
    client = peer
    for hop in (peer, *reversed(forwarded.split(","))):
        address = _address(hop)
        if address is None:
            break
        client = str(address)
        if not any(address in network for network in networks):
            break
    return client


def _address(hop: str) -> Address | None:
    """The address in an element of the header, which some proxies write with a port."""
    text = hop.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
