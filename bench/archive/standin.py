"""nginx in the place of EBS direct and S3: blocks are files in memory, and objects become some.

It serves several times what a mover can take, so that the mover is what is measured. It checks no
signatures and knows no faults; for that there is the emulated AWS.
"""

import base64
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cpm.kernel import clock
from cpm.server import certificate

BLOCK_BYTES = 524_288
KINDS = ("text", "noise")
# A volume that has one block in so many, so that each page has one.
SPARSE = "sparse"
STRIDE = 4_000

_PAGE = 10_000
_START_SECONDS = 20.0
_WORDS = 4_000
_PIECES, _PIECE_BYTES = 2_048, 4_096


class Missing(RuntimeError):
    """What the benchmark needs is not on this machine; the text says what."""


@dataclass(frozen=True)
class StandIn:
    """A running one, with a snapshot of so many blocks of each kind."""

    directory: Path
    port: int
    tls_port: int
    blocks: int

    def endpoint(self, *, tls: bool) -> str:
        """Where EBS direct and S3 are."""
        return f"https://127.0.0.1:{self.tls_port}" if tls else f"http://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        """What to trust over https."""
        return self.directory / "tls" / "certificate.pem"

    @property
    def private_key(self) -> Path:
        """What it shows that by."""
        return self.directory / "tls" / "key.pem"

    def files(self, kind: str) -> list[Path]:
        """The blocks of the snapshot `snap-<kind>`, in order."""
        return [self.directory / kind / str(block) for block in range(self.blocks)]

    def stored_bytes(self, bucket: str) -> int:
        """What is in a bucket."""
        return sum(
            each.stat().st_size for each in self._bucket(bucket).rglob("*") if each.is_file()
        )

    def empty(self, bucket: str) -> None:
        """Forget a bucket's objects."""
        shutil.rmtree(self._bucket(bucket), ignore_errors=True)

    def _bucket(self, bucket: str) -> Path:
        return self.directory / "s3" / bucket


@contextmanager
def running(blocks: int, sparse_blocks: int) -> Iterator[StandIn]:
    """Plant the data, and serve it for a while; raises `Missing`."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        raise Missing("The stand-in is nginx, and there is none: apt install nginx.")
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="cpm-bench-", dir=memory) as name:
        directory = Path(name)
        directory.chmod(0o755)
        stand_in = StandIn(directory, *_free_ports(), blocks)
        certificate.ensure(stand_in.certificate, stand_in.private_key, [])
        sums = {kind: _plant(stand_in, kind) for kind in KINDS}
        sums[SPARSE] = _repeat(stand_in, sums[KINDS[0]], -(-sparse_blocks // STRIDE))
        _list(stand_in, sparse_blocks)
        configuration = directory / "nginx.conf"
        configuration.write_text(_configuration(stand_in, sums))
        with _serving(
            [nginx, "-c", str(configuration), "-e", str(directory / "error.log")], stand_in
        ):
            yield stand_in


@contextmanager
def _serving(command: Sequence[str], stand_in: StandIn) -> Iterator[None]:
    process = subprocess.Popen(command)
    try:
        if not clock.wait_until(lambda: _answers(stand_in.port), timeout_seconds=_START_SECONDS):
            raise Missing(f"nginx did not start: {(stand_in.directory / 'error.log').read_text()}")
        yield
    finally:
        process.terminate()
        process.wait()


def _plant(stand_in: StandIn, kind: str) -> list[str]:
    """Write the blocks; their checksums, as the API has them."""
    (stand_in.directory / kind).mkdir()
    dice, sums = random.Random(kind), []
    pieces = _pieces(dice) if kind == "text" else []
    for path in stand_in.files(kind):
        if pieces:
            content = b"".join(dice.sample(pieces, BLOCK_BYTES // _PIECE_BYTES))
        else:
            content = dice.randbytes(BLOCK_BYTES)
        path.write_bytes(content)
        sums.append(base64.b64encode(hashlib.sha256(content).digest()).decode())
    return sums


def _repeat(stand_in: StandIn, sums: list[str], count: int) -> list[str]:
    """The blocks of the sparse snapshot are those of the first kind, again and again."""
    (stand_in.directory / SPARSE).mkdir()
    for number in range(count):
        first = stand_in.directory / KINDS[0] / str(number % stand_in.blocks)
        os.link(first, stand_in.directory / SPARSE / str(number * STRIDE))
    return [sums[number % stand_in.blocks] for number in range(count)]


def _pieces(dice: random.Random) -> list[bytes]:
    """Text of words and numbers, as logs and tables have them; no block has a piece twice."""
    words = [bytes(dice.choices(range(97, 123), k=dice.randint(3, 9))) for _ in range(_WORDS)]
    chosen = dice.choices(words, k=_PIECES * _PIECE_BYTES // 6)
    for at in range(0, len(chosen), 5):
        chosen[at] = b"%d" % dice.randrange(10**6)
    text = b" ".join(chosen)
    return [text[at : at + _PIECE_BYTES] for at in range(0, _PIECES * _PIECE_BYTES, _PIECE_BYTES)]


def _list(stand_in: StandIn, sparse_blocks: int) -> None:
    lists = {
        "blocks-all": range(stand_in.blocks),
        f"blocks-{SPARSE}": range(0, sparse_blocks, STRIDE),
        "changed": range(0, stand_in.blocks, 100),
    }
    (stand_in.directory / "list").mkdir()
    for name, indexes in lists.items():
        for at in range(0, len(indexes), _PAGE):
            answer = _page(name, indexes[at : at + _PAGE])
            if at + _PAGE < len(indexes):
                answer["NextToken"] = str(at + _PAGE)
            path = stand_in.directory / "list" / f"{name}-{at or ''}"
            path.write_text(json.dumps(answer))


def _page(name: str, indexes: range) -> dict[str, object]:
    more = {"ExpiryTime": 4e9, "VolumeSize": 1024, "BlockSize": BLOCK_BYTES}
    if name == "changed":
        both = [{"BlockIndex": each, "SecondBlockToken": f"T{each}"} for each in indexes]
        return {"ChangedBlocks": both, **more}
    return {"Blocks": [{"BlockIndex": each, "BlockToken": f"T{each}"} for each in indexes], **more}


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        for found in (one, other):
            found.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _configuration(stand_in: StandIn, sums: dict[str, list[str]]) -> str:
    lines = "\n".join(
        f'"{kind}/{number * (STRIDE if kind == SPARSE else 1)}" "{checksum}";'
        for kind, checksums in sums.items()
        for number, checksum in enumerate(checksums)
    )
    directory = stand_in.directory
    return f"""
worker_processes 1; pid {directory}/nginx.pid; daemon off; error_log {directory}/error.log warn;
{"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 300;
  client_max_body_size 64m; client_body_buffer_size 1m; client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/t1; fastcgi_temp_path {directory}/t2;
  uwsgi_temp_path {directory}/t3; scgi_temp_path {directory}/t4;
  map_hash_max_size 65536; map_hash_bucket_size 128;
  open_file_cache max=8192 inactive=1h;
  map $uri $block {{
    ~^/snapshots/snap-(?<kind>[a-z]+)/blocks/(?<near>\\d+)$ $kind/$near;
    default {KINDS[0]}/0;
  }}
  map $block $checksum {{
{lines}
  }}
  map $uri $listed {{ ~snap-{SPARSE} {SPARSE}; default all; }}
  server {{
    listen 127.0.0.1:{stand_in.port} backlog=512;
    listen 127.0.0.1:{stand_in.tls_port} ssl backlog=512;
    ssl_certificate {stand_in.certificate}; ssl_certificate_key {stand_in.private_key};
    root {directory};
    location ~ ^/snapshots/[^/]+/blocks$ {{
      default_type application/json; try_files /list/blocks-$listed-$arg_pageToken =404;
    }}
    location ~ ^/snapshots/[^/]+/changedblocks$ {{
      default_type application/json; try_files /list/changed-$arg_pageToken =404;
    }}
    location ~ ^/snapshots/snap-back/blocks/ {{ return 201 "{{}}"; }}
    location ~ ^/snapshots/[^/]+/blocks/ {{
      default_type application/octet-stream; etag off; if_modified_since off;
      add_header x-amz-Data-Length {BLOCK_BYTES}; add_header x-amz-Checksum $checksum;
      add_header x-amz-Checksum-Algorithm SHA256;
      try_files /$block =404;
    }}
    location / {{
      root {directory}/s3; dav_methods PUT DELETE; create_full_put_path on;
    }}
  }}
}}
"""
