"""What a rehearsal does to the bytes of volumes: write them, fill ranges, read and compare them."""

import random
from collections.abc import Callable, Mapping
from typing import Any

from cpm.simulator import ec2_snapshots, ec2_state, ec2_volumes
from cpm.simulator.ebs_contents import BLOCKS_PER_GIB, Contents
from cpm.simulator.ebs_store import BLOCK_BYTES, STORE
from cpm.simulator.ec2_snapshots import Snapshot
from cpm.simulator.ec2_volumes import Volume
from cpm.simulator.simulation import Simulation
from cpm.simulator.web import Answer, Request

_MOST_AT_ONCE = 1024
_ZEROS = bytes(BLOCK_BYTES)
_WORDS = [f"{word}-{number} " for word in ("backup", "region", "volume") for number in range(97)]


class BadBlocks(ValueError):
    """Blocks that cannot be written or read; the text says why."""


def write(simulation: Simulation, request: Request) -> Any:
    """Write the body, whole blocks, to the volume `id` from block `start` on."""
    query = request.parameters()
    count, rest = divmod(len(request.body), BLOCK_BYTES)
    if rest or not count:
        raise BadBlocks(f"the body is a multiple of {BLOCK_BYTES} bytes")
    start = int(query.get("start", "0"))
    _check_range(simulation, query.get("id", ""), start, count)
    pieces = (request.body[n * BLOCK_BYTES : (n + 1) * BLOCK_BYTES] for n in range(count))
    for index, data in enumerate(pieces, start):
        _put(simulation, query["id"], index, data)
    simulation.changed.set()
    return {"blocks": count}


def fill(simulation: Simulation, wanted: Mapping[str, Any]) -> Any:
    """Fill ranges of the volume `id`: each has `pattern`, `start`, `count` and perhaps `seed`.

    Patterns: `random` (compresses not at all), `text` (compresses well), `repeated` (one block,
    again and again), `zero` (written zeros), `erase` (as if never written).
    """
    volume_id, total = str(wanted.get("id", "")), 0
    for item in wanted.get("ranges", []):
        start, count, seed = (int(item.get(name, 0)) for name in ("start", "count", "seed"))
        pattern = item.get("pattern")
        if pattern != "erase" and pattern not in _PATTERNS:
            raise BadBlocks(f"there is no pattern {pattern!r}")
        _check_range(simulation, volume_id, start, count)
        for index in range(start, start + count):
            data = None if pattern == "erase" else _PATTERNS[pattern](seed, index)
            _put(simulation, volume_id, index, data)
        total += count
    simulation.changed.set()
    return {"blocks": total}


def read(simulation: Simulation, request: Request) -> Answer:
    """The bytes of `count` blocks of a volume or snapshot from `start` on, zeros if unwritten."""
    query = request.parameters()
    start, count = int(query.get("start", "0")), int(query.get("count", "1"))
    if not 0 < count <= _MOST_AT_ONCE:
        raise BadBlocks(f"1 to {_MOST_AT_ONCE} blocks are read at once")
    with simulation.lock:
        contents = _holder(query.get("id", "")).contents
        blocks = [contents.get(index) for index in range(start, start + count)]
    body = b"".join(block.read() if block else _ZEROS for block in blocks)
    return Answer(200, body, [("Content-Type", "application/octet-stream")])


def show(simulation: Simulation, request: Request) -> Any:
    """The size of a volume or snapshot, and the SHA-256 of each block that was written."""
    with simulation.lock:
        holder = _holder(request.parameters().get("id", ""))
        contents, size = holder.contents, _size(holder)
        digests = {str(index): _digest(contents, index) for index in contents.indexes()}
    return {"size_gib": size, "blocks": digests, "store": STORE.usage()}


def compare(simulation: Simulation, request: Request) -> Any:
    """The indexes at which two volumes or snapshots read differently; unwritten is zeros."""
    query = request.parameters()
    zero = STORE.put(_ZEROS).digest.hex()
    with simulation.lock:
        one, other = (_holder(query.get(name, "")).contents for name in ("a", "b"))
        indexes = sorted({*one.indexes(), *other.indexes()})
        differing = [n for n in indexes if _digest(one, n, zero) != _digest(other, n, zero)]
    return {"equal": not differing, "differing": differing}


def _put(simulation: Simulation, volume_id: str, index: int, data: bytes | None) -> None:
    block = None if data is None else STORE.put(data)
    with simulation.lock:
        contents = _holder(volume_id).contents
        if block is None:
            contents.erase(index)
        else:
            contents.put(index, block)


def _check_range(simulation: Simulation, volume_id: str, start: int, count: int) -> None:
    with simulation.lock:
        holder = _holder(volume_id)
        end = _size(holder) * BLOCKS_PER_GIB
    if not isinstance(holder, Volume):
        raise BadBlocks("only volumes are written to")
    if start < 0 or count < 0 or start + count > end:
        raise BadBlocks(f"the volume has the blocks 0 to {end - 1}")


def _holder(resource_id: str) -> Volume | Snapshot:
    for ec2 in ec2_state.everywhere():
        found: Volume | Snapshot | None = ec2_volumes.table(ec2).get(
            resource_id
        ) or ec2_snapshots.table(ec2).get(resource_id)
        if found is not None:
            return found
    raise BadBlocks(f"there is no volume and no snapshot {resource_id!r}")


def _size(holder: Volume | Snapshot) -> int:
    return holder.size if isinstance(holder, Volume) else holder.volume_size


def _digest(contents: Contents, index: int, absent: str = "") -> str:
    block = contents.get(index)
    return block.digest.hex() if block else absent


def _random(seed: int, index: int) -> bytes:
    return random.Random(f"{seed}/{index}").randbytes(BLOCK_BYTES)  # noqa: S311 - data, no secret


def _text(seed: int, index: int) -> bytes:
    words = random.Random(f"{seed}/{index}").choices(_WORDS, k=BLOCK_BYTES // 9)  # noqa: S311
    return "".join(words).encode()[:BLOCK_BYTES].ljust(BLOCK_BYTES, b"\n")


_PATTERNS: Mapping[str, Callable[[int, int], bytes]] = {
    "random": _random,
    "text": _text,
    "repeated": lambda seed, _: _random(seed, 0),
    "zero": lambda _seed, _index: _ZEROS,
}
