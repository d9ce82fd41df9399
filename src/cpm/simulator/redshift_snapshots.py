"""Redshift's cluster snapshots: creating, then available or failed; made, listed, deleted."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from moto.redshift.models import RedshiftBackend, Snapshot, redshift_backends

from cpm.simulator import making, markers
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.errors import AwsError
from cpm.simulator.lives import State

_STATUS = {State.PENDING: "creating", State.DONE: "available", State.FAILED: "failed"}
_DEFAULT_PAGE = 100
_SHORTEST_PAGE = 20
SIZE_MIB = 1000.0
_RATE_MIB = 10.0
_MANAGED_STORAGE = ("ra3.large", "ra3.xlplus", "ra3.4xlarge", "ra3.16xlarge")


def install(handlers: Handlers) -> None:
    """Take over snapshots."""
    handlers.add(
        "redshift",
        {
            "CreateClusterSnapshot": create_snapshot,
            "DeleteClusterSnapshot": delete_snapshot,
            "DescribeClusterSnapshots": describe_snapshots,
        },
    )


def backend(account: str, region: str) -> RedshiftBackend:
    """The Redshift of one account in one region."""
    found: RedshiftBackend = redshift_backends[account][region]
    return found


def create_snapshot(call: Call) -> Mapping[str, Any]:
    """A manual snapshot of a cluster that is available."""
    redshift = backend(call.account, call.region)
    cluster_name, name = call.params["ClusterIdentifier"], call.params["SnapshotIdentifier"]
    cluster: Any = redshift.clusters.get(cluster_name)
    if cluster is None:
        raise AwsError("ClusterNotFound", f"Cluster {cluster_name} not found.", 404)
    if cluster.status != "available":
        text = f"Cannot create a snapshot: cluster {cluster_name} is {cluster.status}."
        raise AwsError("InvalidClusterState", text)
    _check_new(call, redshift, name)
    tags = call.get("Tags", [])
    snapshot = redshift.create_cluster_snapshot(cluster_name, name, call.region, tags)
    _complete(snapshot, cluster)
    making.begin(call, snapshot, call.config.pending, name, cluster_name, snapshot.arn)
    return {"Snapshot": settled(call, snapshot)}


def delete_snapshot(call: Call) -> Mapping[str, Any]:
    """Delete a manual snapshot that is over and shared with nobody."""
    snapshot = own(call, call.params["SnapshotIdentifier"])
    if snapshot.snapshot_type != "manual":
        raise bad_state("Only manual snapshots can be deleted.")
    if snapshot.status == "creating":
        raise bad_state(f"The snapshot {snapshot.snapshot_identifier} is being created.")
    if accounts_with_access(snapshot):
        raise bad_state(
            f"Access to the snapshot {snapshot.snapshot_identifier} must be revoked from all "
            "accounts before it can be deleted."
        )
    del backend(call.account, call.region).snapshots[snapshot.snapshot_identifier]
    snapshot.status = "deleted"
    return {"Snapshot": snapshot}


def describe_snapshots(call: Call) -> Mapping[str, Any]:
    """The caller's snapshots, or those that the account `OwnerAccount` lets it restore."""
    found = [settled(call, item) for item in _visible(call) if _is_asked_for(call, item)]
    name = call.get("SnapshotIdentifier")
    if name and not found:
        raise missing(name)
    snapshots, marker = page(call, found, lambda item: str(item.snapshot_identifier))
    return {"Snapshots": snapshots, "Marker": marker}


def own(call: Call, name: str) -> Any:
    """A snapshot of the caller's, settled; raises ClusterSnapshotNotFound."""
    snapshot = backend(call.account, call.region).snapshots.get(name)
    if snapshot is None:
        raise missing(name)
    return settled(call, snapshot)


def usable(call: Call, name: str, owner: str | None) -> Any:
    """A snapshot that the caller owns or was given by `owner`, settled."""
    if owner in (None, call.account):
        return own(call, name)
    snapshot = backend(str(owner), call.region).snapshots.get(name)
    if snapshot is None or call.account not in accounts_with_access(snapshot):
        raise missing(name)
    return settled(call, snapshot)


def settled(call: Call, snapshot: Any) -> Any:
    """The snapshot with the status and the progress that it has by now."""
    state = making.settle(call.config, snapshot)
    percent = making.progress_percent(snapshot)
    made = making.of(snapshot)
    left_seconds = (made.life.ends_at - made.life.started_at).total_seconds() if made else 0.0
    snapshot.status = _STATUS[state]
    snapshot.total_backup_size_in_mega_bytes = SIZE_MIB
    snapshot.actual_incremental_backup_size_in_mega_bytes = SIZE_MIB
    snapshot.backup_progress_in_mega_bytes = SIZE_MIB * percent / 100
    snapshot.current_backup_rate_in_mega_bytes_per_second = _RATE_MIB if percent < 100 else 0.0
    snapshot.estimated_seconds_to_completion = int(left_seconds * (100 - percent) / 100)
    snapshot.elapsed_time_in_seconds = int(left_seconds * percent / 100)
    return snapshot


def accounts_with_access(snapshot: Any) -> list[str]:
    """The other accounts that may restore the snapshot."""
    given = getattr(snapshot, "accounts_with_restore_access", [])
    return [item["AccountId"] for item in given]


def restorable_node_types(node_type: str) -> list[str]:
    """The types of nodes that data of nodes of this type fit into."""
    family = node_type.partition(".")[0]
    if family == "dc2":
        return ["dc2.large", "dc2.8xlarge", *_MANAGED_STORAGE]
    return list(_MANAGED_STORAGE)


def missing(name: str) -> AwsError:
    """There is no such snapshot, for this caller at least."""
    return AwsError("ClusterSnapshotNotFound", f"Snapshot {name} not found.", 404)


def bad_state(text: str) -> AwsError:
    """The snapshot is not in a state that allows the operation."""
    return AwsError("InvalidClusterSnapshotState", text)


def page(call: Call, items: list[Any], key: Any) -> tuple[list[Any], str | None]:
    """The page of `items` that the call asks for, and the marker of the next one, if any."""
    size = call.get("MaxRecords", _DEFAULT_PAGE)
    if not _SHORTEST_PAGE <= size <= _DEFAULT_PAGE:
        text = f"MaxRecords must be between {_SHORTEST_PAGE} and {_DEFAULT_PAGE}"
        raise AwsError("InvalidParameterValue", text)
    try:
        return markers.page(items, key, size, call.get("Marker"))
    except markers.BadMarker:
        raise AwsError("InvalidParameterValue", "The parameter Marker is not valid") from None


def has_tags(call: Call, thing: Any) -> bool:
    """Whether a cluster or snapshot has one of the `TagKeys` and one of the `TagValues`."""
    keys, values = call.get("TagKeys", []), call.get("TagValues", [])
    return (not keys or any(tag["Key"] in keys for tag in thing.tags)) and (
        not values or any(tag["Value"] in values for tag in thing.tags)
    )


def _check_new(call: Call, redshift: RedshiftBackend, name: str) -> None:
    if name in redshift.snapshots:
        text = f"Snapshot already exists: {name}"
        raise AwsError("ClusterSnapshotAlreadyExists", text)
    limit = call.config.limits.redshift_snapshots
    manual = sum(item.snapshot_type == "manual" for item in redshift.snapshots.values())
    if limit is not None and manual >= limit:
        text = f"Cannot create more than {limit:g} manual cluster snapshots"
        raise AwsError("ClusterSnapshotQuotaExceeded", text)


def _complete(snapshot: Any, cluster: Any) -> None:
    snapshot.accounts_with_restore_access = []
    snapshot.cluster_create_time = cluster.create_time
    snapshot.kms_key_id = cluster.kms_key_id
    snapshot.restorable_node_types = restorable_node_types(cluster.node_type)
    snapshot.vpc_id = cluster.vpc_id
    snapshot.owner_account = snapshot.account_id


def _visible(call: Call) -> Iterator[Snapshot]:
    owner = call.get("OwnerAccount") or call.account
    for snapshot in backend(owner, call.region).snapshots.values():
        if not making.is_listed(snapshot):
            continue
        if owner == call.account or call.account in accounts_with_access(snapshot):
            yield snapshot


def _is_asked_for(call: Call, snapshot: Any) -> bool:
    made_at = _utc(snapshot.create_time)
    return (
        call.get("SnapshotIdentifier") in (None, snapshot.snapshot_identifier)
        and call.get("SnapshotArn") in (None, snapshot.arn)
        and call.get("ClusterIdentifier") in (None, snapshot.cluster_identifier)
        and call.get("SnapshotType") in (None, snapshot.snapshot_type)
        and ("StartTime" not in call.params or made_at >= _utc(call.params["StartTime"]))
        and ("EndTime" not in call.params or made_at <= _utc(call.params["EndTime"]))
        and has_tags(call, snapshot)
    )


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
