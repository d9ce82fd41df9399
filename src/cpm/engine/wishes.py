"""What is to be brought back, as planning and starting a recovery need to know it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cpm.engine import orders
from cpm.engine.deleted import archives
from cpm.models.accounts import Account
from cpm.models.backups import Backup
from cpm.models.snapshots import Snapshot
from cpm.resources.contract import Driver, Json
from cpm.resources.copied import Copied, Source


@dataclass(frozen=True)
class Wish:
    """What is to be brought back, from which copies, into which account."""

    driver: Driver
    backup: Backup
    resource_id: str
    resource_name: str | None
    facts: Json
    snapshots: Sequence[Snapshot]
    # Where the copies are, or are to be for the recovery, and whose credentials are used.
    account: Account
    region: str
    # Of the driver's `recover_options`, and as they were asked for.
    options: Any
    asked: Json

    @property
    def is_from_s3(self) -> bool:
        """Whether the volumes' data has to be restored first."""
        return any(map(is_archived, self.snapshots))


def source_of(wish: Wish, copies: Sequence[Copied] | None = None) -> Source:
    """What a driver plans from; `copies` stand in for the snapshots."""
    return Source(
        resource_id=wish.resource_id,
        resource_name=wish.resource_name,
        facts=wish.facts,
        copies=[orders.copied_of(each) for each in wish.snapshots] if copies is None else copies,
        is_elsewhere=_is_elsewhere(wish),
    )


def is_archived(snapshot: Snapshot) -> bool:
    """Whether it is a copy in S3."""
    return snapshot.collection in archives()


def home_of(snapshot: Snapshot) -> str:
    """The region in which a recovery finds a snapshot; of a copy in S3, that of its original."""
    return snapshot.s3_copy.original_region if is_archived(snapshot) else snapshot.region


def _is_elsewhere(wish: Wish) -> bool:
    """Whether it comes back in another region or AWS account than the original's."""
    for each in wish.snapshots:
        is_copy = not is_archived(each) and each.source_snapshot_id is not None
        if is_copy or home_of(each) != wish.region:
            return True
    original = wish.backup.account
    return original is not None and original.aws_account_number != wish.account.aws_account_number
