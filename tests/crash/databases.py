"""RDS's databases and clusters, as stories of what is protected one by one know them."""

from typing import Any

from cpm.aws import tags
from tests.crash.one_by_one import Things


class Databases(Things):
    """RDS's databases."""

    kind = "rds_database"
    calls = (
        *("rds:CreateDBSnapshot", "rds:DeleteDBSnapshot"),
        *("rds:RestoreDBInstanceFromDBSnapshot", "rds:ModifyDBInstance"),
    )

    @property
    def rds(self) -> Any:
        """RDS of the account."""
        return self.world.client("rds")

    def plant(self) -> str:
        (name,) = self.world.seed(databases=1, tags={"team": "red"})["databases"]
        return str(name)

    def remove(self, name: str) -> None:
        self.rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)

    def copies(self) -> dict[str, dict[str, str]]:
        pages = self.rds.get_paginator("describe_db_snapshots")
        return {
            each["DBSnapshotIdentifier"]: tags.from_aws(each["TagList"])
            for page in pages.paginate(SnapshotType="manual")
            for each in page["DBSnapshots"]
        }

    def present(self) -> dict[str, dict[str, str]]:
        pages = self.rds.get_paginator("describe_db_instances")
        return {
            each["DBInstanceIdentifier"]: tags.from_aws(each["TagList"])
            for page in pages.paginate()
            for each in page["DBInstances"]
        }

    def check(self, name: str) -> None:
        (found,) = self.rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
        assert (found["DBInstanceStatus"], found["AllocatedStorage"]) == ("available", 20)


class Clusters(Things):
    """RDS's clusters."""

    kind = "rds_cluster"
    calls = (
        *("rds:CreateDBClusterSnapshot", "rds:DeleteDBClusterSnapshot"),
        *("rds:RestoreDBClusterFromSnapshot", "rds:CreateDBInstance"),
    )
    vital = ("rds:CreateDBInstance", "writer")

    @property
    def rds(self) -> Any:
        """RDS of the account."""
        return self.world.client("rds")

    def plant(self) -> str:
        (name,) = self.world.seed(clusters=1, tags={"team": "red"})["clusters"]
        return str(name)

    def remove(self, name: str) -> None:
        (cluster,) = self.rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"]
        for each in cluster["DBClusterMembers"]:
            member = each["DBInstanceIdentifier"]
            self.rds.delete_db_instance(DBInstanceIdentifier=member, SkipFinalSnapshot=True)
        self.rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)

    def copies(self) -> dict[str, dict[str, str]]:
        pages = self.rds.get_paginator("describe_db_cluster_snapshots")
        return {
            each["DBClusterSnapshotIdentifier"]: tags.from_aws(each["TagList"])
            for page in pages.paginate(SnapshotType="manual")
            for each in page["DBClusterSnapshots"]
        }

    def present(self) -> dict[str, dict[str, str]]:
        pages = self.rds.get_paginator("describe_db_clusters")
        return {
            each["DBClusterIdentifier"]: tags.from_aws(each["TagList"])
            for page in pages.paginate()
            for each in page["DBClusters"]
        }

    def check(self, name: str) -> None:
        (found,) = self.rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"]
        (member,) = found["DBClusterMembers"]
        assert found["Status"] == "available"
        assert member["IsClusterWriter"]
