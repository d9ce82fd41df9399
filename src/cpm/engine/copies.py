"""What copies in other places and copies in S3 have in common."""

from collections.abc import Collection
from typing import Any

from cpm.models.accounts import Account
from cpm.models.backups import CopyOutcome, CopyStatus
from cpm.models.snapshots import Snapshot


def row_of(
    original: Snapshot, collection: str, account: Account | None, region: str, **columns: Any
) -> Snapshot:
    """The row of a copy: of the same resource as the original, and as that found it."""
    return Snapshot(
        backup_id=original.backup_id,
        target_id=original.target_id,
        kind=original.kind,
        collection=collection,
        account=account,
        account_name=account.name if account else "",
        region=region,
        resource_id=original.resource_id,
        resource_name=original.resource_name,
        instance_id=original.instance_id,
        volume_device=original.volume_device,
        size_gib=original.size_gib,
        encrypted=original.encrypted,
        source_snapshot=original,
        **columns,
    )


def status_of(outcomes: Collection[str]) -> CopyStatus:
    """What a record says of copies that are over."""
    if not outcomes:
        return CopyStatus.NONE
    if CopyOutcome.FAILED not in outcomes:
        return CopyStatus.SUCCEEDED
    return CopyStatus.PARTIAL if CopyOutcome.SUCCEEDED in outcomes else CopyStatus.FAILED
