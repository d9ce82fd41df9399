"""ListSnapshotBlocks, ListChangedBlocks, GetSnapshotBlock: what snapshots hold, block by block."""

import base64
from collections.abc import Iterator, Mapping
from heapq import merge
from itertools import groupby, islice
from typing import Any

from cpm.kernel import clock
from cpm.simulator import ebs_access, ebs_tokens
from cpm.simulator.calls import Call, Direct, Handlers
from cpm.simulator.ebs_errors import invalid
from cpm.simulator.ebs_requests import read, required
from cpm.simulator.ebs_store import BLOCK_BYTES
from cpm.simulator.ec2_snapshots import Snapshot
from cpm.simulator.web import Answer, json_answer

_FEWEST, _MOST = 100, 10_000


def install(handlers: Handlers) -> None:
    """Answer the reading half of the EBS direct APIs."""
    handlers.add_direct(
        "ebs",
        {
            "ListSnapshotBlocks": Direct(read, list_snapshot_blocks),
            "ListChangedBlocks": Direct(read, list_changed_blocks),
            "GetSnapshotBlock": Direct(read, get_snapshot_block),
        },
    )


def list_snapshot_blocks(call: Call) -> Answer:
    """The blocks that were ever written, with tokens to get them by, in pages."""
    snapshot_id = call.params["SnapshotId"]
    ebs_access.spend(call)
    with call.lock:
        snapshot = ebs_access.readable(call, snapshot_id)
        start, size = _start(call, "", snapshot_id), _size(call)
        indexes = list(islice(snapshot.contents.indexes(start), size + 1))
    expires_at = _block_expiry(call)
    blocks = [
        {"BlockIndex": index, "BlockToken": ebs_tokens.make(expires_at, index, snapshot_id)}
        for index in indexes[:size]
    ]
    following = _next(call, indexes, size, "", snapshot_id)
    return json_answer({"Blocks": blocks, **_page(snapshot, expires_at, following)})


def list_changed_blocks(call: Call) -> Answer:
    """The blocks in which two snapshots of one lineage differ; of one alone, all it has.

    As many written blocks as `MaxResults` are looked at for each page, so that a page may be empty.
    """
    first_id, second_id = call.get("FirstSnapshotId", ""), call.params["SecondSnapshotId"]
    ebs_access.spend(call)
    with call.lock:
        second = ebs_access.readable(call, second_id)
        first = ebs_access.readable(call, first_id) if first_id else None
        _check_related(first, second)
        start, size = _start(call, first_id, second_id), _size(call)
        indexes = list(islice(_either(first, second, start), size + 1))
        differing = [index for index in indexes[:size] if _differs(first, second, index)]
    expires_at = _block_expiry(call)
    changed = [_changed(first, second, index, expires_at) for index in differing]
    following = _next(call, indexes, size, first_id, second_id)
    return json_answer({"ChangedBlocks": changed, **_page(second, expires_at, following)})


def get_snapshot_block(call: Call) -> Answer:
    """The bytes of one block."""
    snapshot_id, index = call.params["SnapshotId"], call.params["BlockIndex"]
    token = required(call.params, "BlockToken")
    ebs_access.spend(call, snapshot_id)
    with call.lock:
        snapshot = ebs_access.readable(call, snapshot_id)
        if ebs_tokens.open_token(token, snapshot_id) != index:
            raise invalid("INVALID_BLOCK_TOKEN", "The block token is invalid or has expired.")
        block = snapshot.contents.get(index)
    if block is None:
        raise invalid("INVALID_BLOCK", f"The snapshot has no block {index}.")
    headers = [
        ("Content-Type", "application/octet-stream"),
        ("x-amz-Data-Length", str(BLOCK_BYTES)),
        ("x-amz-Checksum", base64.b64encode(block.digest).decode()),
        ("x-amz-Checksum-Algorithm", "SHA256"),
    ]
    return Answer(200, block.read(), headers)


def _check_related(first: Snapshot | None, second: Snapshot) -> None:
    if first is None:
        return
    if first.lineage != second.lineage:
        text = f"The snapshots {first.id} and {second.id} are not of one lineage."
        raise invalid("UNRELATED_SNAPSHOTS", text)
    if first.volume_size > second.volume_size:
        raise invalid("INVALID_VOLUME_SIZE", "The first snapshot is larger than the second.")


def _either(first: Snapshot | None, second: Snapshot, start: int) -> Iterator[int]:
    written = second.contents.indexes(start)
    if first is None:
        return written
    both = merge(first.contents.indexes(start), written)
    return (index for index, _ in groupby(both))


def _differs(first: Snapshot | None, second: Snapshot, index: int) -> bool:
    return first is None or first.contents.get(index) is not second.contents.get(index)


def _changed(
    first: Snapshot | None, second: Snapshot, index: int, expires_at: int
) -> Mapping[str, Any]:
    shown: dict[str, Any] = {"BlockIndex": index}
    for name, snapshot in (("FirstBlockToken", first), ("SecondBlockToken", second)):
        if snapshot is not None and snapshot.contents.get(index) is not None:
            shown[name] = ebs_tokens.make(expires_at, index, snapshot.id)
    return shown


def _size(call: Call) -> int:
    wanted: int = call.get("MaxResults", _MOST)
    if wanted > _MOST:
        raise invalid("INVALID_PARAMETER_VALUE", f"MaxResults is at most {_MOST}")
    # AWS gives a hundred to those who ask for fewer.
    return max(wanted, _FEWEST)


def _start(call: Call, *snapshot_ids: str) -> int:
    token = call.get("NextToken")
    if token is None:
        start: int = call.get("StartingBlockIndex", 0)
        return start
    found = ebs_tokens.open_token(token, "page", *snapshot_ids)
    if found is None:
        raise invalid("INVALID_PAGE_TOKEN", "The page token is invalid or has expired.")
    return found


def _next(call: Call, indexes: list[int], size: int, *snapshot_ids: str) -> str | None:
    if len(indexes) <= size:
        return None
    expires_at = int(clock.now().timestamp() + call.config.page_token_seconds)
    return ebs_tokens.make(expires_at, indexes[size], "page", *snapshot_ids)


def _block_expiry(call: Call) -> int:
    return int(clock.now().timestamp() + call.config.block_token_seconds)


def _page(snapshot: Snapshot, expires_at: int, following: str | None) -> Mapping[str, Any]:
    shown = {
        "ExpiryTime": expires_at,
        "VolumeSize": snapshot.volume_size,
        "BlockSize": BLOCK_BYTES,
    }
    return {**shown, "NextToken": following} if following else shown
