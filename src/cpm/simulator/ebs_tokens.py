"""Tokens of blocks and of pages: bound to what they were given for, and good for a time."""

import base64
import hmac
import struct

from cpm.kernel import clock

_KEY = b"a simulator guards no secrets, but a token has to be one that it gave"
_HEAD = struct.Struct(">QQ")
_MAC_BYTES = 16


def make(expires_at: int, number: int, *binding: object) -> str:
    """A token that carries `number` until `expires_at` (Unix time), for `binding` alone."""
    head = _HEAD.pack(expires_at, number)
    return base64.b64encode(head + _mac(head, binding)).decode()


def open_token(token: str, *binding: object) -> int | None:
    """The number in a token; None when it is not one, is for something else or has expired."""
    try:
        raw = base64.b64decode(token, validate=True)
    except ValueError:
        return None
    head, mac = raw[: _HEAD.size], raw[_HEAD.size :]
    if not hmac.compare_digest(mac, _mac(head, binding)):
        return None
    expires_at, number = _HEAD.unpack(head)
    return int(number) if clock.now().timestamp() < expires_at else None


def _mac(head: bytes, binding: tuple[object, ...]) -> bytes:
    text = head + repr(binding).encode()
    return hmac.digest(_KEY, text, "sha256")[:_MAC_BYTES]
