"""RDS databases for tests: made and waited for in one call."""

from typing import Any


def make_instance(rds: Any, name: str = "db-1", **more: Any) -> Any:
    """An available MySQL instance; as DescribeDBInstances shows it."""
    wanted: dict[str, Any] = {
        "DBInstanceIdentifier": name,
        "DBInstanceClass": "db.t3.micro",
        "Engine": "mysql",
        "MasterUsername": "admin",
        "MasterUserPassword": "secret-secret",
        "AllocatedStorage": 20,
    }
    rds.create_db_instance(**{**wanted, **more})
    return look(rds, name)


def make_cluster(rds: Any, name: str = "cluster-1", **more: Any) -> Any:
    """An available Aurora cluster without members; as DescribeDBClusters shows it."""
    wanted: dict[str, Any] = {
        "DBClusterIdentifier": name,
        "Engine": "aurora-mysql",
        "MasterUsername": "admin",
        "MasterUserPassword": "secret-secret",
    }
    rds.create_db_cluster(**{**wanted, **more})
    return rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]


def snapshot(rds: Any, name: str, instance: str = "db-1", **more: Any) -> Any:
    """A snapshot of an instance, as it is seen right after."""
    rds.create_db_snapshot(DBSnapshotIdentifier=name, DBInstanceIdentifier=instance, **more)
    return look_at(rds, name)


def cluster_snapshot(rds: Any, name: str, cluster: str = "cluster-1", **more: Any) -> Any:
    """A snapshot of a cluster, as it is seen right after."""
    rds.create_db_cluster_snapshot(
        DBClusterSnapshotIdentifier=name, DBClusterIdentifier=cluster, **more
    )
    return look_at_cluster(rds, name)


def look(rds: Any, name: str) -> Any:
    """An instance as it is now."""
    return rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]


def look_at(rds: Any, name: str) -> Any:
    """A snapshot of an instance as it is now."""
    return rds.describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"][0]


def look_at_cluster(rds: Any, name: str) -> Any:
    """A snapshot of a cluster as it is now."""
    found = rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=name)
    return found["DBClusterSnapshots"][0]


def make_key(kms: Any, policy: str = "") -> str:
    """A key of the customer's; its ARN."""
    more: Any = {"Policy": policy} if policy else {}
    return str(kms.create_key(**more)["KeyMetadata"]["Arn"])


def tag_list(**values: str) -> list[Any]:
    """Tags as RDS and most others take them."""
    return [{"Key": key, "Value": value} for key, value in values.items()]


def names(answer: Any) -> list[str]:
    """The snapshots in an answer that somebody asked for, not those that RDS made itself."""
    return [
        item["DBSnapshotIdentifier"]
        for item in answer["DBSnapshots"]
        if item["SnapshotType"] == "manual"
    ]
