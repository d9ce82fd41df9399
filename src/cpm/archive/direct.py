"""The two calls of the EBS direct APIs that carry data: a block comes, a block goes."""

from base64 import b64encode

from cpm.archive.blobs import BLOCK_BYTES, digest_of
from cpm.aws import signing
from cpm.aws.lean import Lean, Request
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind

_LIST = "/snapshots/snap-0/blocks"


class Blocks:
    """The blocks of snapshots in one account and region. Thread-safe."""

    def __init__(self, aws: Aws) -> None:
        self._lean = Lean(aws, "ebs", "ListSnapshotBlocks", _LIST, SnapshotId="snap-0")

    def get(self, snapshot_id: str, block: int, token: str) -> tuple[bytes, bytes]:
        """A block and its SHA-256, which is the one that AWS tells.

        Raises Fault; one that was spoilt on its way is transient.
        """
        query = signing.query_of([("blockToken", token)])
        path = f"/snapshots/{snapshot_id}/blocks/{block}"
        answer = self._lean.send(Request("GetSnapshotBlock", "GET", path, query))
        digest = digest_of(answer.body)
        told = answer.headers.get("x-amz-checksum", "")
        if len(answer.body) != BLOCK_BYTES or told != b64encode(digest).decode():
            raise Fault(
                FaultKind.TRANSIENT,
                f"block {block} has arrived with {len(answer.body)} bytes and another checksum",
                operation="ebs:GetSnapshotBlock",
                code="ChecksumMismatch",
            )
        return answer.body, digest

    def put(self, snapshot_id: str, block: int, content: bytes, percent: int | None = None) -> None:
        """Put a block into a snapshot that was started; EC2 shows `percent` of it. Raises Fault."""
        headers = {
            "content-type": "application/octet-stream",
            "x-amz-data-length": str(len(content)),
            "x-amz-checksum": b64encode(digest_of(content)).decode(),
            "x-amz-checksum-algorithm": "SHA256",
        }
        if percent is not None:
            headers["x-amz-progress"] = str(percent)
        path = f"/snapshots/{snapshot_id}/blocks/{block}"
        self._lean.send(Request("PutSnapshotBlock", "PUT", path, headers=headers, body=(content,)))
