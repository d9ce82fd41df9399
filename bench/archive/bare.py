"""The least that a copy has to do, by the leanest means: what the mover is compared with.

Get, SHA-256, zstd, AES-GCM and put, one block after the other on one connection:
no order, no lists, no checkpoints, no budget, no retries, no choice of regions.
"""

import base64
import hashlib
import hmac
import http.client
import os
import zlib
from collections.abc import Iterator

import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cpm.kernel import clock

_PACK_BYTES = 32 * 2**20


def copy(port: int, bucket: str, kind: str, blocks: range, level: int) -> None:
    """Move blocks into packs of a bucket."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    compressor, cipher = zstandard.ZstdCompressor(level=level), AESGCM(os.urandom(32))
    parts: list[bytes] = []
    size = number = 0
    for content in _read(connection, kind, blocks):
        compressed = compressor.compress(content)
        sealed = cipher.encrypt(size.to_bytes(12, "big"), min(compressed, content, key=len), None)
        parts.append(sealed)
        size += len(sealed)
        if size >= _PACK_BYTES:
            _write(connection, f"/{bucket}/{blocks.start}-{number}", parts)
            parts, size, number = [], 0, number + 1
    _write(connection, f"/{bucket}/{blocks.start}-{number}", parts)
    connection.close()


def _read(connection: http.client.HTTPConnection, kind: str, blocks: range) -> Iterator[bytes]:
    for block in blocks:
        path, query = f"/snapshots/snap-{kind}/blocks/{block}", f"blockToken=T{block}"
        connection.request("GET", f"{path}?{query}", headers=_signed("GET", path, query))
        answer = connection.getresponse()
        content = answer.read()
        checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
        if answer.status != 200 or answer.getheader("x-amz-Checksum") != checksum:
            raise RuntimeError(f"block {block} is not what it should be")
        yield content


def _write(connection: http.client.HTTPConnection, path: str, parts: list[bytes]) -> None:
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    more = {"x-amz-checksum-crc32": base64.b64encode(crc.to_bytes(4, "big")).decode()}
    headers = {**_signed("PUT", path, "", more), "content-length": str(sum(map(len, parts)))}
    connection.request("PUT", path, body=iter(parts), headers=headers)
    answer = connection.getresponse()
    answer.read()
    if answer.status not in (201, 204):
        raise RuntimeError(f"{path} was not stored: {answer.status}")


_KEY = os.urandom(32)


def _signed(
    method: str, path: str, query: str, more: dict[str, str] | None = None
) -> dict[str, str]:
    now = f"{clock.now():%Y%m%dT%H%M%SZ}"
    headers = {"host": "127.0.0.1", "x-amz-date": now, **(more or {})}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"{method}\n{path}\n{query}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{now}\n{now[:8]}/r/s/aws4_request\n{digest}"
    signature = hmac.digest(_KEY, text.encode(), "sha256").hex()
    headers["authorization"] = f"AWS4-HMAC-SHA256 SignedHeaders={names}, Signature={signature}"
    return headers
