"""EBS's quotas on snapshots: per volume, per account, and copies per destination region."""

from collections.abc import Sequence

from moto.ec2.models import EC2Backend

from cpm.kernel import clock
from cpm.simulator import ec2_snapshots, ec2_state
from cpm.simulator.calls import Call
from cpm.simulator.config import Config
from cpm.simulator.ec2_snapshots import Snapshot
from cpm.simulator.ec2_volumes import Volume
from cpm.simulator.errors import AwsError
from cpm.simulator.lives import State


def check_new_snapshots(call: Call, volumes: Sequence[Volume]) -> None:
    """Raise AWS's error when these volumes may not have one more snapshot each just now."""
    for volume in volumes:
        _check_interval(call.config, volume)
        _check_volume(call.config, volume)
    _check_account(call, len(volumes))


def check_new_copy(call: Call) -> None:
    """Raise ResourceLimitExceeded when the region that is called cannot take one more copy."""
    limit = call.config.limits.copies
    ec2 = ec2_state.backend(call.account, call.region)
    if limit is not None and _copies_in_progress(call.config, ec2) >= limit:
        raise AwsError(
            "ResourceLimitExceeded",
            f"Too many snapshot copies in progress. The limit is {limit:g} for this "
            "destination region.",
        )


def note_copy(copy: Snapshot) -> None:
    """Count `copy` among the copies in progress until it is over."""
    ec2_state.table(copy.ec2_backend, "copies_in_progress")[copy.id] = copy


def _check_interval(config: Config, volume: Volume) -> None:
    interval = config.limits.volume_interval_seconds
    if interval is None or volume.last_snapshot_at is None:
        return
    if (clock.now() - volume.last_snapshot_at).total_seconds() < interval:
        raise AwsError(
            "SnapshotCreationPerVolumeRateExceeded",
            "The maximum per volume CreateSnapshot request rate has been exceeded. Use an "
            "increasing or variable sleep interval between requests.",
        )


def _check_volume(config: Config, volume: Volume) -> None:
    limit = config.limits.pending_per_volume
    snapshots = ec2_snapshots.table(volume.ec2_backend)
    volume.recent_snapshot_ids = [
        snapshot_id
        for snapshot_id in volume.recent_snapshot_ids
        if snapshot_id in snapshots and snapshots[snapshot_id].settle(config) is State.PENDING
    ]
    if limit is not None and len(volume.recent_snapshot_ids) >= limit:
        raise AwsError(
            "ConcurrentSnapshotLimitExceeded",
            "Maximum allowed in-progress snapshots for a single volume exceeded.",
        )


def _check_account(call: Call, count: int) -> None:
    limit = call.config.limits.pending_per_account
    if limit is None:
        return
    snapshots = ec2_snapshots.table(ec2_state.backend(call.account, call.region)).values()
    pending = sum(snapshot.settle(call.config) is State.PENDING for snapshot in snapshots)
    if pending + count > limit:
        raise AwsError(
            "PendingSnapshotLimitExceeded",
            f"You have reached the maximum of {limit:g} pending snapshots.",
        )


def _copies_in_progress(config: Config, ec2: EC2Backend) -> int:
    running = ec2_state.table(ec2, "copies_in_progress")
    for snapshot in list(running.values()):
        if snapshot.settle(config) is not State.PENDING:
            del running[snapshot.id]
    return len(running)
