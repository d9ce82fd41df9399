"""What tests of the EBS direct APIs need: blocks to write, and snapshots read to the end."""

import base64
import hashlib
from typing import Any

BLOCK_BYTES = 524_288


def block(text: str) -> bytes:
    """A block that begins with `text` and ends in zeros."""
    return text.encode().ljust(BLOCK_BYTES, b"\0")


def checksum(data: bytes) -> str:
    """The SHA-256 as the API has it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def linear(*blocks: bytes) -> str:
    """The linear checksum of blocks in the order of their indexes."""
    return checksum(b"".join(hashlib.sha256(data).digest() for data in blocks))


def put(ebs: Any, snapshot_id: str, index: int, data: bytes, **more: Any) -> Any:
    """Put one block."""
    wanted = {
        "SnapshotId": snapshot_id,
        "BlockIndex": index,
        "BlockData": data,
        "DataLength": len(data),
        "Checksum": checksum(data),
        "ChecksumAlgorithm": "SHA256",
    }
    return ebs.put_snapshot_block(**{**wanted, **more})


def upload(ebs: Any, blocks: dict[int, bytes], **more: Any) -> str:
    """A snapshot started, written and completed; its id."""
    snapshot_id: str = ebs.start_snapshot(**{"VolumeSize": 1, **more})["SnapshotId"]
    for index, data in blocks.items():
        put(ebs, snapshot_id, index, data)
    ebs.complete_snapshot(
        SnapshotId=snapshot_id,
        ChangedBlocksCount=len(blocks),
        Checksum=linear(*(blocks[index] for index in sorted(blocks))),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    return snapshot_id


def tokens(ebs: Any, snapshot_id: str, **more: Any) -> dict[int, str]:
    """The tokens of all blocks of a snapshot by index, in the order that they were listed in."""
    found: dict[int, str] = {}
    page = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, **more)
    while True:
        found |= {item["BlockIndex"]: item["BlockToken"] for item in page["Blocks"]}
        if not page.get("NextToken"):
            return found
        page = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, **more, NextToken=page["NextToken"])


def get(ebs: Any, snapshot_id: str, index: int, token: str) -> bytes:
    """One block, its checksum looked at."""
    answer = ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=index, BlockToken=token)
    data: bytes = answer["BlockData"].read()
    assert answer["DataLength"] == len(data) == BLOCK_BYTES
    assert answer["Checksum"] == checksum(data)
    return data


def download(ebs: Any, snapshot_id: str) -> dict[int, bytes]:
    """All blocks of a snapshot."""
    found = tokens(ebs, snapshot_id)
    return {index: get(ebs, snapshot_id, index, token) for index, token in found.items()}
