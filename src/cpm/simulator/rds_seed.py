"""RDS databases and Aurora clusters in bulk, for estates."""

from collections.abc import Mapping
from typing import Any

from cpm.simulator.rds_kinds import backend

_DATABASE = {
    "allocated_storage": 20,
    "db_instance_class": "db.t3.medium",
    "engine": "mysql",
    "engine_version": "8.0.35",
    "master_user_password": "secret-secret",
    "master_username": "admin",
    "storage_type": "gp3",
}
_CLUSTER = {
    "engine": "aurora-mysql",
    "engine_version": "8.0.mysql_aurora.3.05.2",
    "master_user_password": "secret-secret",
    "master_username": "admin",
}
_MEMBER = {"db_instance_class": "db.r6g.large", "engine": "aurora-mysql"}


def plant_databases(
    account: str, region: str, count: int, name: str, tags: Mapping[str, str]
) -> list[str]:
    """Make instances that stand alone; returns their names."""
    rds = backend(account, region)
    names = _names(rds.databases, f"{name}-db", count)
    for one in names:
        rds.create_db_instance({**_DATABASE, "db_instance_identifier": one, "tags": _listed(tags)})
    return names


def plant_clusters(
    account: str, region: str, count: int, name: str, tags: Mapping[str, str]
) -> list[str]:
    """Make clusters of one member each; returns their names."""
    rds = backend(account, region)
    names = _names(rds.clusters, f"{name}-cluster", count)
    for one in names:
        cluster: Any = rds.create_db_cluster(
            {**_CLUSTER, "db_cluster_identifier": one, "tags": _listed(tags)}
        )
        cluster.status, cluster.kms_key_id = "available", None
        member = {"db_cluster_identifier": one, "db_instance_identifier": f"{one}-1"}
        rds.create_db_instance({**_MEMBER, **member, "tags": _listed(tags)})
    return names


def _names(taken: Mapping[str, object], prefix: str, count: int) -> list[str]:
    first = sum(name.startswith(prefix) for name in taken) + 1
    return [f"{prefix}-{number:05d}" for number in range(first, first + count)]


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
