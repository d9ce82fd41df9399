"""Which snapshots a caller of the EBS direct APIs may read and write, and how often."""

from threading import RLock

from cpm.simulator import ebs_errors, ec2_snapshots, kms_keys
from cpm.simulator.buckets import Buckets
from cpm.simulator.calls import Call
from cpm.simulator.ec2_snapshots import Snapshot
from cpm.simulator.lives import State

_buckets = Buckets()
_guard = RLock()


def spend(call: Call, snapshot_id: str | None = None) -> None:
    """Take one call from the account's rate, and from the snapshot's; raises what AWS throttles."""
    name, limits = call.operation.name, call.config.limits
    rates = {
        "GetSnapshotBlock": limits.direct_gets,
        "PutSnapshotBlock": limits.direct_puts,
        "ListSnapshotBlocks": limits.direct_lists,
        "ListChangedBlocks": limits.direct_lists,
        "StartSnapshot": limits.direct_starts,
        "CompleteSnapshot": limits.direct_completes,
    }
    _take(rates[name], (name, call.account, call.region), "ACCOUNT_THROTTLED")
    per_snapshot = {
        "GetSnapshotBlock": limits.direct_gets_per_snapshot,
        "PutSnapshotBlock": limits.direct_puts_per_snapshot,
    }
    _take(per_snapshot.get(name), (name, snapshot_id), "RESOURCE_LEVEL_THROTTLE")


def readable(call: Call, snapshot_id: str) -> Snapshot:
    """A completed snapshot of the caller's, or one shared with it by name; public is not enough."""
    snapshot = find(call, snapshot_id)
    if call.account != snapshot.owner_id and call.account not in snapshot.user_ids:
        raise ebs_errors.denied(f"You may not read the snapshot '{snapshot_id}'.")
    if snapshot.life.state is not State.DONE:
        text = f"The snapshot '{snapshot_id}' is {snapshot.status}, not completed."
        raise ebs_errors.invalid("INVALID_SNAPSHOT_ID", text)
    check_key(call, snapshot.encryption.kms_key_id, "Decrypt")
    return snapshot


def writable(call: Call, snapshot_id: str) -> Snapshot:
    """A snapshot that the caller started and that still takes blocks."""
    snapshot = find(call, snapshot_id)
    if call.account != snapshot.owner_id:
        raise ebs_errors.denied(f"You may not write to the snapshot '{snapshot_id}'.")
    if (
        snapshot.upload is None
        or snapshot.upload.sealed
        or snapshot.life.state is not State.PENDING
    ):
        text = f"The snapshot '{snapshot_id}' is {snapshot.status} and takes no blocks."
        raise ebs_errors.invalid("INVALID_SNAPSHOT_ID", text)
    check_key(call, snapshot.encryption.kms_key_id, "GenerateDataKey")
    return snapshot


def find(call: Call, snapshot_id: str) -> Snapshot:
    """A snapshot in the region, whoever has it."""
    snapshot = ec2_snapshots.anyones(call, snapshot_id)
    if snapshot is None:
        raise ebs_errors.not_found(snapshot_id)
    return snapshot


def check_key(call: Call, arn: str | None, use: str) -> None:
    """Raise unless the caller may do `use` with the key, when there is one."""
    if arn is None:
        return
    key = kms_keys.find(call.account, call.region, arn)
    if key is None:
        raise ebs_errors.key_not_found(arn)
    if not kms_keys.may_use(call.caller, key, use):
        text = f"You may not use the KMS key {arn}."
        raise ebs_errors.denied(text, "DEPENDENCY_ACCESS_DENIED")


def _take(rate: float | None, key: tuple[str | None, ...], reason: str) -> None:
    if rate is None:
        return
    with _guard:
        if not _buckets.take(key, rate, max(rate, 1.0)):
            raise ebs_errors.throttled(reason)
