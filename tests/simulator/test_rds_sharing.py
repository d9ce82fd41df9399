"""RDS snapshots are shared with other accounts, which list, copy and restore them."""

from typing import Any

import pytest

from cpm.simulator.process import Credentials
from tests.simulator.conftest import Clients
from tests.simulator.databases import (
    cluster_snapshot,
    look,
    look_at,
    make_cluster,
    make_instance,
    make_key,
    names,
    snapshot,
    tag_list,
)
from tests.simulator.expect import refused


@pytest.fixture
def theirs(client: Clients, other: Credentials) -> Any:
    """RDS as the other account sees it."""
    return client("rds", other)


def share(rds: Any, name: str, account: str) -> None:
    """Share a snapshot of an instance."""
    rds.modify_db_snapshot_attribute(
        DBSnapshotIdentifier=name, AttributeName="restore", ValuesToAdd=[account]
    )


class TestSharing:
    """What another account sees and may do."""

    def test_a_shared_snapshot_is_listed_on_request_by_its_arn(
        self, rds: Any, theirs: Any, other: Credentials
    ) -> None:
        make_instance(rds)
        arn = snapshot(rds, "s-1", Tags=tag_list(a="b"))["DBSnapshotArn"]
        share(rds, "s-1", other.account)
        assert names(theirs.describe_db_snapshots()) == []
        assert names(theirs.describe_db_snapshots(IncludeShared=True)) == [arn]
        shown = theirs.describe_db_snapshots(SnapshotType="shared")["DBSnapshots"][0]
        assert (shown["DBSnapshotIdentifier"], shown["TagList"]) == (arn, [])
        assert shown["DBSnapshotArn"] == arn
        rds.modify_db_snapshot_attribute(
            DBSnapshotIdentifier="s-1", AttributeName="restore", ValuesToRemove=[other.account]
        )
        assert names(theirs.describe_db_snapshots(SnapshotType="shared")) == []

    def test_a_shared_snapshot_is_copied_and_restored_by_its_arn(
        self, rds: Any, theirs: Any, other: Credentials
    ) -> None:
        make_instance(rds, Tags=tag_list(a="b"))
        arn = snapshot(rds, "s-1")["DBSnapshotArn"]
        with refused("DBSnapshotNotFound"):
            theirs.copy_db_snapshot(
                SourceDBSnapshotIdentifier=arn, TargetDBSnapshotIdentifier="copy-1"
            )
        share(rds, "s-1", other.account)
        theirs.copy_db_snapshot(SourceDBSnapshotIdentifier=arn, TargetDBSnapshotIdentifier="copy-1")
        assert look_at(theirs, "copy-1")["Status"] == "available"
        theirs.restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier="db-9", DBSnapshotIdentifier=arn
        )
        assert look(theirs, "db-9")["TagList"] == []
        with refused("DBSnapshotNotFound"):
            theirs.delete_db_snapshot(DBSnapshotIdentifier=arn)

    def test_a_cluster_snapshot_is_shared_and_restored(
        self, rds: Any, theirs: Any, other: Credentials
    ) -> None:
        make_cluster(rds)
        arn = cluster_snapshot(rds, "s-1")["DBClusterSnapshotArn"]
        changed = rds.modify_db_cluster_snapshot_attribute(
            DBClusterSnapshotIdentifier="s-1",
            AttributeName="restore",
            ValuesToAdd=[other.account],
        )["DBClusterSnapshotAttributesResult"]["DBClusterSnapshotAttributes"]
        assert changed == [{"AttributeName": "restore", "AttributeValues": [other.account]}]
        theirs.restore_db_cluster_from_snapshot(
            DBClusterIdentifier="cluster-9", SnapshotIdentifier=arn, Engine="aurora-mysql"
        )
        shown = theirs.describe_db_clusters(DBClusterIdentifier="cluster-9")["DBClusters"][0]
        assert shown["Status"] == "available"

    def test_what_the_default_key_encrypts_is_never_shared(
        self, rds: Any, other: Credentials
    ) -> None:
        make_instance(rds, StorageEncrypted=True)
        snapshot(rds, "s-1")
        with refused("InvalidDBSnapshotState"):
            share(rds, "s-1", other.account)

    def test_a_shared_encrypted_snapshot_is_copied_by_who_may_use_its_key(
        self,
        client: Clients,
        rds: Any,
        theirs: Any,
        kms: Any,
        other: Credentials,
    ) -> None:
        key = make_key(kms)
        make_instance(rds, StorageEncrypted=True, KmsKeyId=key)
        arn = snapshot(rds, "s-1")["DBSnapshotArn"]
        with refused("InvalidDBSnapshotState"):
            share(rds, "s-1", "all")
        share(rds, "s-1", other.account)
        wanted: Any = {
            "SourceDBSnapshotIdentifier": arn,
            "TargetDBSnapshotIdentifier": "copy-1",
            "KmsKeyId": make_key(client("kms", other)),
        }
        with refused("KMSKeyNotAccessibleFault"):
            theirs.copy_db_snapshot(**wanted)
        kms.create_grant(
            KeyId=key,
            GranteePrincipal=f"arn:aws:iam::{other.account}:root",
            Operations=["Decrypt", "DescribeKey"],
        )
        theirs.copy_db_snapshot(**wanted)
        assert look_at(theirs, "copy-1")["KmsKeyId"] == wanted["KmsKeyId"]
        with refused("InvalidParameterCombination"):
            client("rds", other, "us-west-2").copy_db_snapshot(
                **{**wanted, "KmsKeyId": "alias/aws/rds"}, SourceRegion="us-east-1"
            )
        with refused("InvalidParameterCombination"):
            theirs.restore_db_instance_from_db_snapshot(
                DBInstanceIdentifier="db-9", DBSnapshotIdentifier=arn
            )
