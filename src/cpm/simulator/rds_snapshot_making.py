"""RDS snapshots are made of instances and clusters that are available, and deleted when over."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from moto.rds.models import DBClusterSnapshot, DBSnapshot, RDSBackend

from cpm.simulator import making, rds_snapshots
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.errors import AwsError
from cpm.simulator.lives import State
from cpm.simulator.rds_kinds import INSTANCE, KINDS, Kind, backend, invalid_value

# What a snapshot tells of its instance beside what moto keeps.
_KEPT_OF_INSTANCES = (
    "availability_zone",
    "iops",
    "license_model",
    "option_group_name",
    "storage_throughput",
    "storage_type",
)


def install(handlers: Handlers) -> None:
    """Take over making and deleting snapshots."""
    for kind in KINDS:
        handlers.add(
            "rds",
            {
                f"Create{kind.noun}": partial(create_snapshot, kind=kind),
                f"Delete{kind.noun}": partial(delete_snapshot, kind=kind),
            },
        )


def create_snapshot(call: Call, kind: Kind) -> Mapping[str, Any]:
    """A manual snapshot of an instance or a cluster."""
    name, source_name = call.params[kind.id_name], call.params[kind.source_id_name]
    rds = backend(call.account, call.region)
    source = kind.sources(rds).get(source_name)
    if source is None:
        raise kind.source_missing(source_name)
    check_new(call, kind, name)
    _check_source(kind, source)
    snapshot = make(call, kind, source, name, tags=call.get("Tags"))
    return {kind.noun: snapshot}


def delete_snapshot(call: Call, kind: Kind) -> Mapping[str, Any]:
    """Delete a manual snapshot that is over."""
    snapshot = rds_snapshots.own(call, kind, call.params[kind.id_name])
    if snapshot.snapshot_type != "manual":
        raise kind.bad_state("Only manual snapshots may be deleted.")
    if snapshot.status == "creating" and not is_copy(kind, snapshot):
        raise kind.bad_state(
            "Cannot delete the snapshot because it is not currently in the available or failed "
            "state."
        )
    del kind.table(backend(call.account, call.region))[snapshot.resource_id]
    snapshot.status = "deleted"
    return {kind.noun: snapshot}


def is_copy(kind: Kind, snapshot: Any) -> bool:
    """Whether it is a copy; to delete one in the making is how AWS is told to stop."""
    return getattr(snapshot, kind.origin_name, None) is not None


def check_new(call: Call, kind: Kind, name: str) -> None:
    """Raise unless the account may have one more snapshot, by this name."""
    rds = backend(call.account, call.region)
    rds.validate_db_snapshot_identifier(name, kind.id_name)
    if len(name) > kind.longest_name:
        raise invalid_value(f"{kind.id_name} has more than {kind.longest_name} characters")
    if name in kind.table(rds):
        raise kind.exists(name)
    limit = call.config.limits.rds_snapshots
    if limit is not None and _manual_count(kind, rds) >= limit:
        raise quota_exceeded(f"Cannot create more than {limit:g} manual snapshots")


def quota_exceeded(text: str) -> AwsError:
    """No more for now."""
    return AwsError("SnapshotQuotaExceeded", text)


def make(call: Call, kind: Kind, source: Any, name: str, *origins: str, **facts: Any) -> Any:
    """A new snapshot of `source`, creating; `facts` are what moto's constructor takes."""
    rds = backend(call.account, call.region)
    if kind is INSTANCE:
        snapshot: Any = DBSnapshot(rds, source, name, **facts)
        for fact in _KEPT_OF_INSTANCES:
            setattr(snapshot, fact, getattr(source, fact))
    else:
        snapshot = DBClusterSnapshot(rds, source, name, **facts)
        snapshot.license_model = source.license_model
        if not snapshot.encrypted:
            snapshot.kms_key_id = None
    if facts["tags"] is not None:
        # moto takes an empty list for none, and then the tags of the instance.
        snapshot.tags = facts["tags"]
    names = (snapshot.resource_id, snapshot.arn, source.resource_id, source.arn, *origins)
    making.begin(call, snapshot, call.config.pending, *names)
    kind.table(rds)[name] = snapshot
    _show_as_new(snapshot)
    return snapshot


def _show_as_new(snapshot: Any) -> None:
    # AWS answers `creating` even when the work takes no time.
    snapshot.status = "creating"
    snapshot.percent_progress = 0


def _check_source(kind: Kind, source: Any) -> None:
    if kind is INSTANCE and source.db_cluster_identifier:
        raise kind.source_bad_state(
            "The specified instance is a member of a cluster and a snapshot cannot be created "
            "directly. Please use the CreateDBClusterSnapshot API instead."
        )
    if source.status != "available":
        raise kind.source_bad_state(
            f"Cannot create a snapshot because the database {source.resource_id} is not "
            "currently in the available state."
        )


def _manual_count(kind: Kind, rds: RDSBackend) -> int:
    return sum(item.snapshot_type == "manual" for item in kind.table(rds).values())


def copies_in_progress(call: Call) -> int:
    """How many copies from other regions are being made in the region that is called."""
    rds = backend(call.account, call.region)
    return sum(
        getattr(item, "source_region", None) is not None
        and rds_snapshots.settle(call.config, item) is State.PENDING
        for kind in KINDS
        for item in kind.table(rds).values()
    )
