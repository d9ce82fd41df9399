"""DB instances and Aurora clusters: creating for a while, then available; listed in pages."""

import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any

from botocore import xform_name
from moto.rds.models import DBCluster, DBInstance, RDSBackend

from cpm.simulator import kms_keys, making, rds_ties
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.patches import extend, replace
from cpm.simulator.rds_kinds import CLUSTER, INSTANCE, KINDS, Kind, backend
from cpm.simulator.rds_listing import Field, matching, page
from cpm.simulator.rds_snapshot_copies import own_key

# Its parts have moto's names, too.
_SCALING = "scaling_configuration"
_delete_cluster = RDSBackend.delete_db_cluster


def install(handlers: Handlers) -> None:
    """Take over making and listing databases; let their status follow the clock."""
    for kind in KINDS:
        handlers.add(
            "rds",
            {
                f"Create{kind.source_noun}": partial(create_database, kind=kind),
                f"Describe{kind.source_noun}s": partial(describe_databases, kind=kind),
            },
        )
    status = property(_status, _set_status)
    extend(DBInstance, "status", status)
    replace(DBCluster, "status", status)
    replace(RDSBackend, "delete_db_cluster", _delete_with_backups)


def create_database(call: Call, kind: Kind) -> Mapping[str, Any]:
    """A new instance, also as the member of a cluster, or a new cluster."""
    facts = snake_case(call.params)
    if call.get("StorageEncrypted"):
        facts["kms_key_id"] = _key(call)
    return {kind.source_noun: make(call, kind, facts)}


def make(call: Call, kind: Kind, facts: dict[str, Any], *origins: str) -> Any:
    """A new instance or cluster with `facts` by moto's names, creating."""
    rds = backend(call.account, call.region)
    name = facts[xform_name(kind.source_id_name)]
    if name in kind.sources(rds):
        raise kind.source_exists(name)
    create = rds.create_db_instance if kind is INSTANCE else rds.create_db_cluster
    database: Any = create(facts)
    if kind is INSTANCE:
        database.dbi_resource_id = f"db-{secrets.token_hex(13).upper()}"
    else:
        database.status = "available"
        if not database.storage_encrypted:
            database.kms_key_id = None
    rds_ties.tie(database, facts)
    making.begin(call, database, call.config.quick_seconds, *origins)
    return database


def snake_case(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters by the names that moto gives them."""
    named = {xform_name(name): value for name, value in params.items()}
    if isinstance(named.get(_SCALING), Mapping):
        named[_SCALING] = snake_case(named[_SCALING])
    return named


def describe_databases(call: Call, kind: Kind) -> Mapping[str, Any]:
    """The instances or clusters of the caller in the region."""
    rds = backend(call.account, call.region)
    present = making.listed(_present(kind, rds))
    name = call.get(kind.source_id_name)
    if name:
        present = [item for item in present if name.lower() in (item.resource_id, item.arn)]
        if not present:
            raise kind.source_missing(name)
    found = matching(present, call, _FIELDS[kind])
    databases, marker = page(call, found, lambda item: str(item.resource_id))
    return {f"{kind.source_noun}s": databases, "Marker": marker}


def _present(kind: Kind, rds: RDSBackend) -> list[Any]:
    return list(kind.sources(rds).values())


def _key(call: Call) -> str:
    name = call.get("KmsKeyId")
    if name is None:
        return str(kms_keys.aws_managed(call.account, call.region, "rds").arn)
    return str(own_key(call, name).arn)


def _status(database: Any) -> str:
    return "creating" if making.is_pending(database) else str(database._status)


def _set_status(database: Any, status: str) -> None:
    database._status = status


def _names(database: Any) -> tuple[str, str]:
    return database.resource_id, database.arn


_FIELDS: Mapping[Kind, Mapping[str, Field[Any]]] = {
    INSTANCE: {
        "db-instance-id": _names,
        "db-cluster-id": lambda item: (
            item.db_cluster_identifier,
            item.cluster.arn if item.db_cluster_identifier else None,
        ),
        "dbi-resource-id": lambda item: (item.dbi_resource_id,),
        "engine": lambda item: (item.engine,),
    },
    CLUSTER: {
        "db-cluster-id": _names,
        "db-cluster-resource-id": lambda item: (item.db_cluster_resource_id,),
        "engine": lambda item: (item.engine,),
        "engine-mode": lambda item: (item.engine_mode,),
    },
}


def _delete_with_backups(
    rds: RDSBackend, cluster_identifier: str, snapshot_name: str | None = None
) -> DBCluster:
    """Delete a cluster, and with it the backups that RDS has made by itself."""
    deleted = _delete_cluster(rds, cluster_identifier, snapshot_name)
    for name, snapshot in list(rds.cluster_snapshots.items()):
        its_own = snapshot.db_cluster_identifier == deleted.db_cluster_identifier
        if its_own and snapshot.snapshot_type == "automated":
            del rds.cluster_snapshots[name]
    return deleted
