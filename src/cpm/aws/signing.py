"""Signature Version 4, as the block path needs it: the key of the day is derived once.

botocore's signer takes longer for a request than getting a block does; this one takes some
microseconds. Headers are signed as they are sent: host, and all that begin with `x-amz-`.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from cpm.aws.credentials import Keys

EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"

_ALGORITHM = "AWS4-HMAC-SHA256"


def query_of(pairs: Iterable[tuple[str, str]]) -> str:
    """A query as it is signed, and sent."""
    return "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in sorted(pairs))


def path_of(path: str) -> str:
    """A path of S3's as it is signed, and sent. EBS direct has nothing that would change."""
    return quote(path, safe="/-_.~")


class Scope(NamedTuple):
    """Who signs, and for what."""

    keys: Keys
    region: str
    service: str


class Line(NamedTuple):
    """A request's first line; path and query are encoded."""

    method: str
    path: str
    query: str


def signed(
    scope: Scope, line: Line, headers: Mapping[str, str], payload: str, now: datetime
) -> dict[str, str]:
    """The headers to send: those given (`host` among them, all in lower case), and the signature.

    `payload` is the SHA-256 of the body in hexadecimal, or `UNSIGNED`.
    """
    moment = f"{now:%Y%m%dT%H%M%SZ}"
    keys, region, service = scope
    complete = {**headers, "x-amz-date": moment, "x-amz-content-sha256": payload}
    if keys.session_token:
        complete["x-amz-security-token"] = keys.session_token
    to_sign = sorted(each for each in complete if each == "host" or each.startswith("x-amz-"))
    names = ";".join(to_sign)
    lines = "".join(f"{name}:{complete[name].strip()}\n" for name in to_sign)
    canonical = f"{line.method}\n{line.path}\n{line.query}\n{lines}\n{names}\n{payload}"
    day = f"{moment[:8]}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = _key(keys.secret_access_key, moment[:8], region, service)
    signature = _mac(key, f"{_ALGORITHM}\n{moment}\n{day}\n{digest}").hex()
    complete["authorization"] = (
        f"{_ALGORITHM} Credential={keys.access_key_id}/{day}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return complete


@lru_cache(256)
def _key(secret: str, day: str, region: str, service: str) -> bytes:
    key = _mac(f"AWS4{secret}".encode(), day)
    for part in (region, service, "aws4_request"):
        key = _mac(key, part)
    return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")
