"""Instances and clusters are restored from snapshots, as they were or with other options."""

from collections.abc import Mapping
from typing import Any

from cpm.simulator import rds_groups, rds_snapshots
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.rds_databases import make, snake_case
from cpm.simulator.rds_kinds import (
    CLUSTER,
    INSTANCE,
    Kind,
    invalid_combination,
    invalid_value,
)
from cpm.simulator.rds_snapshot_copies import own_key

# What a restored database has of the one in the snapshot; all else is AWS's default.
_KEPT_OF_INSTANCES = (
    "allocated_storage",
    "auto_minor_version_upgrade",
    "backup_retention_period",
    "character_set_name",
    "copy_tags_to_snapshot",
    "db_instance_class",
    "db_name",
    "engine",
    "engine_version",
    "iops",
    "license_model",
    "master_username",
    "port",
    "preferred_backup_window",
    "preferred_maintenance_window",
    "storage_throughput",
    "storage_type",
)
_KEPT_OF_CLUSTERS = (
    "allocated_storage",
    "backup_retention_period",
    "character_set_name",
    "copy_tags_to_snapshot",
    "database_name",
    "db_cluster_instance_class",
    "engine",
    "engine_mode",
    "engine_version",
    "iops",
    "master_username",
    "port",
    "preferred_backup_window",
    "preferred_maintenance_window",
    "storage_type",
)
_PROVISIONED = ("io1", "io2")


def install(handlers: Handlers) -> None:
    """Take over restoring."""
    handlers.add(
        "rds",
        {
            "RestoreDBClusterFromSnapshot": restore_cluster,
            "RestoreDBInstanceFromDBSnapshot": restore_instance,
        },
    )


def restore_instance(call: Call) -> Mapping[str, Any]:
    """A new instance with the data of a snapshot."""
    snapshot = _source(call, INSTANCE, call.params["DBSnapshotIdentifier"])
    _check_options(call, snapshot)
    rds_groups.check_security_groups(call)
    facts = _facts(call, snapshot, snapshot.database, _KEPT_OF_INSTANCES)
    if str(facts.get("option_group_name", "")).startswith("default:"):
        # The default groups are always there and moto does not list them.
        del facts["option_group_name"]
    if facts["storage_type"] not in _PROVISIONED and "Iops" not in call.params:
        facts["iops"] = None
    instance = make(call, INSTANCE, facts, snapshot.resource_id, snapshot.arn)
    return {INSTANCE.source_noun: instance}


def restore_cluster(call: Call) -> Mapping[str, Any]:
    """A new cluster with the data of a snapshot, without members."""
    snapshot = _source(call, CLUSTER, call.params["SnapshotIdentifier"])
    if call.params["Engine"] != snapshot.engine:
        raise invalid_value(
            f"The engine {call.params['Engine']} does not fit a snapshot of {snapshot.engine}."
        )
    rds_groups.check_for_cluster(call)
    rds_groups.check_security_groups(call)
    facts = _facts(call, snapshot, snapshot.cluster, _KEPT_OF_CLUSTERS)
    if call.get("KmsKeyId"):
        key = own_key(call, call.params["KmsKeyId"])
        facts.update(kms_key_id=key.arn, storage_encrypted=True)
    cluster = make(call, CLUSTER, facts, snapshot.resource_id, snapshot.arn)
    return {CLUSTER.source_noun: cluster}


def _source(call: Call, kind: Kind, name: str) -> Any:
    snapshot = rds_snapshots.usable(call, kind, name)
    if snapshot.region != call.region:
        raise kind.missing(name)
    if snapshot.status != "available":
        raise kind.bad_state(f"Cannot restore from a snapshot in the {snapshot.status} state.")
    if rds_snapshots.is_encrypted(snapshot) and snapshot.account_id != call.account:
        raise invalid_combination(
            "A snapshot that is both shared and encrypted cannot be restored. Copy it first."
        )
    return snapshot


def _facts(call: Call, snapshot: Any, original: Any, kept: tuple[str, ...]) -> dict[str, Any]:
    facts = {name: getattr(original, name, None) for name in kept}
    # moto hides the password behind a property that cannot be read.
    facts["master_user_password"] = getattr(original, "_master_user_password", None)
    facts["tags"] = original.tags if original.account_id == call.account else []
    facts["storage_encrypted"] = rds_snapshots.is_encrypted(snapshot)
    facts["kms_key_id"] = snapshot.kms_key_id
    asked = {name: value for name, value in snake_case(call.params).items() if value is not None}
    return {**facts, **asked}


def _check_options(call: Call, snapshot: Any) -> None:
    if call.get("MultiAZ") and call.get("AvailabilityZone"):
        raise invalid_combination(
            "Requesting a specific availability zone is not valid for Multi-AZ instances."
        )
    if call.get("StorageType") in _PROVISIONED and not call.get("Iops"):
        raise invalid_combination(
            f"You must specify Iops for the storage type {call.get('StorageType')}."
        )
    if call.get("AllocatedStorage", snapshot.allocated_storage) < snapshot.allocated_storage:
        raise invalid_value(
            "The allocated storage size can't be less than the source snapshot or backup size."
        )
