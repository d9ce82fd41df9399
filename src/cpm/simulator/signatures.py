"""Signature Version 4, checked as AWS checks it; the signing keys of a day are remembered."""

import hashlib
import hmac
from functools import lru_cache
from urllib.parse import quote, unquote_plus

from cpm.simulator.operations import Signature
from cpm.simulator.web import Request


def is_genuine(request: Request, claim: Signature, secret_access_key: str) -> bool:
    """Whether `request` was signed with `secret_access_key` and not changed since."""
    scope = f"{claim.date}/{claim.region}/{claim.service}/aws4_request"
    moment = request.headers.get("x-amz-date", "")
    digest = hashlib.sha256(_canonical_request(request, claim).encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    key = _signing_key(secret_access_key, claim.date, claim.region, claim.service)
    return hmac.compare_digest(_hmac(key, text).hex(), claim.signature)


def _canonical_request(request: Request, claim: Signature) -> str:
    headers = "".join(
        f"{name}:{' '.join(request.headers.get(name, '').split())}\n"
        for name in claim.signed_headers
    )
    return "\n".join(
        (
            request.method,
            _canonical_path(request, claim.service),
            _canonical_query(request.query),
            headers,
            ";".join(claim.signed_headers),
            _payload_hash(request),
        )
    )


def _canonical_path(request: Request, service: str) -> str:
    # S3 signs the path as it is sent; every other service escapes it once more.
    return request.raw_path if service == "s3" else quote(request.raw_path, safe="/-_.~")


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = (part.partition("=") for part in query.split("&"))
    return "&".join(sorted(f"{_escape(name)}={_escape(value)}" for name, _, value in pairs))


def _escape(text: str) -> str:
    return quote(unquote_plus(text), safe="-_.~")


def _payload_hash(request: Request) -> str:
    declared = request.headers.get("x-amz-content-sha256")
    return declared or request.body_digest.hex()


@lru_cache(maxsize=1024)
def _signing_key(secret_access_key: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret_access_key}".encode()
    for part in (date, region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
