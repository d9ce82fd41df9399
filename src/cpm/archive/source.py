"""An EBS snapshot as what a copy reads: the blocks it has, or those that changed, and their bytes.

Listing and getting are idempotent, so whatever passes is tried again here; a fault that is raised
is final.
"""

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from cpm.archive.direct import Blocks
from cpm.archive.errors import LineageBroken
from cpm.aws.patience import patiently
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind

# The IAM actions of what is done here.
PERMISSIONS = ("ebs:GetSnapshotBlock", "ebs:ListChangedBlocks", "ebs:ListSnapshotBlocks")

_PAGE = 10_000
# As few as AWS gives: enough to know that it gives any, or to go on with fresh tokens.
_FEW = 100
_REFUSED = (FaultKind.INVALID, FaultKind.MISSING)


class Listed(NamedTuple):
    """A block that a copy has to look at; without a token it has gone since the last copy."""

    block: int
    token: str | None


class Block(NamedTuple):
    """What a block consists of, and its SHA-256, which AWS has confirmed."""

    content: bytes
    digest: bytes


class Source(Protocol):
    """What a copy reads. Thread-safe."""

    def blocks(self, first: int, end: int) -> Iterator[Listed]:
        """The blocks to look at from `first` up to `end`, which is not among them, in order."""
        ...

    def read(self, listed: Listed) -> Block:
        """A block that was listed with a token; raises Fault."""
        ...


class EbsSource:
    """A completed snapshot in `aws`'s account and region, or shared with it.

    With `since` only what differs from that earlier snapshot of the volume is listed. Raises
    `LineageBroken` when AWS cannot compare the two; then a full copy is what remains.
    """

    def __init__(self, aws: Aws, snapshot_id: str, since: str | None = None) -> None:
        self._aws = aws
        self._blocks = Blocks(aws)
        self._snapshot_id = snapshot_id
        self._since = since
        self._renewing = threading.Lock()
        self._renewed: dict[int, str] = {}

    def blocks(self, first: int, end: int) -> Iterator[Listed]:
        """As `Source` says."""
        start, token = first, None
        while start < end:
            answer = self._page(start, token)
            for listed in self._listed(answer):
                if listed.block >= end:
                    return
                start = listed.block + 1
                yield listed
            token = answer.get("NextToken")
            if not token:
                return

    def read(self, listed: Listed) -> Block:
        """As `Source` says. A token that has expired is renewed."""
        token = self._renewed.get(listed.block) or listed.token or ""
        try:
            return patiently(lambda: self._get(listed.block, token))
        except Fault as fault:
            if fault.kind is not FaultKind.INVALID:
                raise
            fresh = self._renew(listed.block, token)
            if fresh is None:
                raise
        return patiently(lambda: self._get(listed.block, fresh))

    def _page(self, start: int, token: str | None) -> dict[str, Any]:
        try:
            return self._list(start, token)
        except Fault as fault:
            if fault.kind not in _REFUSED:
                raise
            refused = fault
        if token is not None:
            # Tokens of pages last for an hour; what comes next is known without one.
            return self._page(start, None)
        if self._since is not None and self._is_there():
            why = f"{self._since} and {self._snapshot_id} cannot be compared: {refused.message}"
            raise LineageBroken(why) from refused
        raise refused

    def _list(self, start: int, token: str | None) -> dict[str, Any]:
        where: dict[str, Any] = {"NextToken": token} if token else {"StartingBlockIndex": start}
        if self._since is None:
            return self._call("ListSnapshotBlocks", SnapshotId=self._snapshot_id, **where)
        return self._call(
            "ListChangedBlocks",
            FirstSnapshotId=self._since,
            SecondSnapshotId=self._snapshot_id,
            **where,
        )

    def _listed(self, answer: dict[str, Any]) -> Iterator[Listed]:
        for block in answer.get("Blocks", ()):
            yield Listed(block["BlockIndex"], block["BlockToken"])
        for block in answer.get("ChangedBlocks", ()):
            yield Listed(block["BlockIndex"], block.get("SecondBlockToken"))

    def _is_there(self) -> bool:
        """Whether the snapshot itself can be read, so that the refusal was about the other."""
        try:
            self._call("ListSnapshotBlocks", SnapshotId=self._snapshot_id, MaxResults=_FEW)
        except Fault as fault:
            if fault.kind in _REFUSED:
                return False
            raise
        return True

    def _renew(self, block: int, refused: str) -> str | None:
        """A fresh token of a block, and those of its neighbours for those that ask next."""
        with self._renewing:
            if self._renewed.get(block, refused) == refused:
                answer = self._call(
                    "ListSnapshotBlocks",
                    SnapshotId=self._snapshot_id,
                    StartingBlockIndex=block,
                    MaxResults=_FEW,
                )
                self._renewed = {each.block: each.token or "" for each in self._listed(answer)}
            return self._renewed.get(block)

    def _get(self, block: int, token: str) -> Block:
        return Block(*self._blocks.get(self._snapshot_id, block, token))

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        wanted = {"MaxResults": _PAGE, **parameters}
        return patiently(lambda: self._aws.call("ebs", operation, **wanted))
