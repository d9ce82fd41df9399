"""RDS databases restored from snapshots: as they were, and with every option."""

from typing import TYPE_CHECKING, Any

import pytest

from cpm.simulator.process import Credentials, Simulator
from tests.simulator.conftest import Clients, Later
from tests.simulator.databases import (
    cluster_snapshot,
    look,
    make_cluster,
    make_instance,
    snapshot,
    tag_list,
)
from tests.simulator.expect import refused

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def restore(rds: Any, name: str = "db-2", **options: Any) -> Any:
    """An instance restored from the snapshot `s-1`; as RDS shows it right after."""
    rds.restore_db_instance_from_db_snapshot(
        DBInstanceIdentifier=name, DBSnapshotIdentifier="s-1", **options
    )
    return look(rds, name)


def test_an_instance_comes_back_as_it_was_though_its_original_is_gone(
    simulator: Simulator, rds: Any, later: Later
) -> None:
    make_instance(rds, Tags=tag_list(team="blue"), AllocatedStorage=50, DBName="shop")
    snapshot(rds, "s-1")
    rds.delete_db_instance(DBInstanceIdentifier="db-1", SkipFinalSnapshot=True)
    simulator.config(pending=36_000)
    restored = restore(rds, "db-1")
    assert restored["DBInstanceStatus"] == "creating"
    assert (restored["AllocatedStorage"], restored["DBName"]) == (50, "shop")
    assert restored["TagList"] == tag_list(team="blue")
    assert restored["DeletionProtection"] is False
    later(3600)
    assert look(rds, "db-1")["DBInstanceStatus"] == "available"


def test_every_option_of_a_restore_is_taken(rds: Any, ec2: "EC2Client") -> None:
    make_instance(rds)
    snapshot(rds, "s-1")
    subnets = [item["SubnetId"] for item in ec2.describe_subnets()["Subnets"]]
    rds.create_db_subnet_group(
        DBSubnetGroupName="nets", DBSubnetGroupDescription="x", SubnetIds=subnets
    )
    rds.create_db_parameter_group(
        DBParameterGroupName="params", DBParameterGroupFamily="mysql5.6", Description="x"
    )
    rds.create_option_group(
        OptionGroupName="options",
        EngineName="mysql",
        MajorEngineVersion="5.6",
        OptionGroupDescription="x",
    )
    security_group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    restored = restore(
        rds,
        DBInstanceClass="db.m5.large",
        MultiAZ=True,
        DBSubnetGroupName="nets",
        Port=3307,
        StorageType="io1",
        Iops=1000,
        DBParameterGroupName="params",
        OptionGroupName="options",
        VpcSecurityGroupIds=[security_group],
        LicenseModel="general-public-license",
        AutoMinorVersionUpgrade=False,
        PubliclyAccessible=True,
        DeletionProtection=True,
        CopyTagsToSnapshot=True,
        Tags=tag_list(restored="yes"),
    )
    assert restored["DBInstanceClass"] == "db.m5.large"
    assert restored["MultiAZ"] is True
    assert restored["DBSubnetGroup"]["DBSubnetGroupName"] == "nets"
    assert restored["Endpoint"]["Port"] == 3307
    assert (restored["StorageType"], restored["Iops"]) == ("io1", 1000)
    assert restored["DBParameterGroups"][0]["DBParameterGroupName"] == "params"
    assert restored["OptionGroupMemberships"][0]["OptionGroupName"] == "options"
    assert restored["VpcSecurityGroups"][0]["VpcSecurityGroupId"] == security_group
    assert restored["AutoMinorVersionUpgrade"] is False
    assert restored["PubliclyAccessible"] is True
    assert restored["DeletionProtection"] is True
    assert restored["TagList"] == tag_list(restored="yes")


def test_an_instance_comes_back_in_the_zone_that_is_asked_for(rds: Any) -> None:
    make_instance(rds)
    snapshot(rds, "s-1")
    assert restore(rds, AvailabilityZone="us-east-1c")["AvailabilityZone"] == "us-east-1c"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"MultiAZ": True, "AvailabilityZone": "us-east-1a"}, "InvalidParameterCombination"),
        ({"StorageType": "io1"}, "InvalidParameterCombination"),
        ({"AllocatedStorage": 10}, "InvalidParameterValue"),
        ({"DBSubnetGroupName": "nothing"}, "DBSubnetGroupNotFoundFault"),
        ({"DBParameterGroupName": "nothing"}, "DBParameterGroupNotFound"),
        ({"OptionGroupName": "nothing"}, "OptionGroupNotFoundFault"),
    ],
)
def test_options_that_cannot_be_are_refused(rds: Any, options: dict[str, Any], code: str) -> None:
    make_instance(rds)
    snapshot(rds, "s-1")
    with refused(code):
        restore(rds, **options)
    with refused("DBInstanceNotFound", 404):
        look(rds, "db-2")


def test_a_taken_name_and_a_missing_snapshot_are_refused(rds: Any) -> None:
    make_instance(rds)
    snapshot(rds, "s-1")
    with refused("DBInstanceAlreadyExists"):
        restore(rds, "db-1")
    with refused("DBSnapshotNotFound", 404):
        rds.restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier="db-2", DBSnapshotIdentifier="nothing"
        )


def test_an_instance_in_a_network_of_its_own_is_restored_from_a_copy_in_another_region(
    client: Clients, account: Credentials, rds: Any, ec2: "EC2Client"
) -> None:
    subnets = [item["SubnetId"] for item in ec2.describe_subnets()["Subnets"]]
    rds.create_db_subnet_group(
        DBSubnetGroupName="nets", DBSubnetGroupDescription="x", SubnetIds=subnets
    )
    make_instance(rds, DBSubnetGroupName="nets")
    arn = snapshot(rds, "s-0")["DBSnapshotArn"]
    west = client("rds", account, "us-west-2")
    west.copy_db_snapshot(
        SourceDBSnapshotIdentifier=arn,
        TargetDBSnapshotIdentifier="s-1",
        SourceRegion="us-east-1",
    )
    assert restore(west)["AvailabilityZone"].startswith("us-west-2")


def test_an_encrypted_instance_stays_encrypted_with_its_key(rds: Any) -> None:
    key = make_instance(rds, StorageEncrypted=True)["KmsKeyId"]
    snapshot(rds, "s-1")
    restored = restore(rds)
    assert (restored["StorageEncrypted"], restored["KmsKeyId"]) == (True, key)


def test_a_cluster_comes_back_with_the_members_that_are_made_for_it(
    simulator: Simulator, rds: Any, later: Later
) -> None:
    make_cluster(rds, Tags=tag_list(team="blue"), DatabaseName="shop")
    cluster_snapshot(rds, "s-1")
    simulator.config(pending=36_000)
    made = rds.restore_db_cluster_from_snapshot(
        DBClusterIdentifier="cluster-2",
        SnapshotIdentifier="s-1",
        Engine="aurora-mysql",
        Port=3307,
        DeletionProtection=True,
    )["DBCluster"]
    assert (made["Status"], made["Port"], made["DatabaseName"]) == ("creating", 3307, "shop")
    assert made["DeletionProtection"] is True
    assert made["TagList"] == tag_list(team="blue")
    rds.create_db_instance(
        DBInstanceIdentifier="member-1",
        DBInstanceClass="db.r6g.large",
        Engine="aurora-mysql",
        DBClusterIdentifier="cluster-2",
    )
    later(3600)
    assert look(rds, "member-1")["DBInstanceStatus"] == "available"
    cluster = rds.describe_db_clusters(DBClusterIdentifier="cluster-2")["DBClusters"][0]
    assert cluster["Status"] == "available"
    assert cluster["DBClusterMembers"][0]["DBInstanceIdentifier"] == "member-1"


def test_a_cluster_is_restored_only_by_its_own_engine_and_under_a_free_name(
    rds: Any,
) -> None:
    make_cluster(rds)
    cluster_snapshot(rds, "s-1")
    with refused("InvalidParameterValue"):
        rds.restore_db_cluster_from_snapshot(
            DBClusterIdentifier="cluster-2",
            SnapshotIdentifier="s-1",
            Engine="aurora-postgresql",
        )
    with refused("DBClusterAlreadyExistsFault"):
        rds.restore_db_cluster_from_snapshot(
            DBClusterIdentifier="cluster-1", SnapshotIdentifier="s-1", Engine="aurora-mysql"
        )


def test_a_restore_is_refused_while_the_instance_restored_is_creating_and_snapshotted(
    simulator: Simulator, rds: Any
) -> None:
    make_instance(rds)
    snapshot(rds, "s-1")
    simulator.config(pending=36_000)
    restore(rds)
    with refused("InvalidDBInstanceState"):
        snapshot(rds, "s-2", "db-2")


def test_groups_that_are_not_there_are_refused_for_clusters_and_instances(rds: Any) -> None:
    make_instance(rds)
    make_cluster(rds)
    snapshot(rds, "s-1")
    cluster_snapshot(rds, "s-2")
    wanted: Any = {
        "DBClusterIdentifier": "cluster-2",
        "SnapshotIdentifier": "s-2",
        "Engine": "aurora-mysql",
    }
    for options, code in (
        ({"DBSubnetGroupName": "nothing"}, "DBSubnetGroupNotFoundFault"),
        ({"DBClusterParameterGroupName": "nothing"}, "DBClusterParameterGroupNotFound"),
        ({"VpcSecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidParameterValue"),
    ):
        with refused(code):
            rds.restore_db_cluster_from_snapshot(**wanted, **options)
    with refused("InvalidParameterValue"):
        restore(rds, VpcSecurityGroupIds=["sg-0123456789abcdef0"])
    with refused("DBParameterGroupNotFound"):
        rds.describe_db_parameter_groups(DBParameterGroupName="nothing")


def test_classes_that_may_be_ordered_are_listed_for_every_engine(rds: Any) -> None:
    def classes(**wanted: str) -> list[str]:
        found = rds.describe_orderable_db_instance_options(**wanted)
        return [each["DBInstanceClass"] for each in found["OrderableDBInstanceOptions"]]

    assert classes(Engine="mysql", DBInstanceClass="db.m5.large") == ["db.m5.large"]
    assert classes(Engine="mysql", DBInstanceClass="db.m5.enormous") == []
    assert classes(Engine="mysql", DBInstanceClass="db.serverless") == []
    assert classes(Engine="aurora-mysql", DBInstanceClass="db.serverless") == ["db.serverless"]


def test_estates_have_databases_and_clusters(
    simulator: Simulator, account: Credentials, rds: Any
) -> None:
    planted = simulator.seed(account=account.account, databases=150, clusters=2, tags={"a": "b"})
    assert (len(planted["databases"]), len(planted["clusters"])) == (150, 2)
    shown = look(rds, planted["databases"][149])
    assert (shown["DBInstanceStatus"], shown["TagList"]) == ("available", tag_list(a="b"))
    clusters = rds.describe_db_clusters()["DBClusters"]
    assert [each["DBClusterIdentifier"] for each in clusters] == planted["clusters"]
    assert all(len(each["DBClusterMembers"]) == 1 for each in clusters)
    again = simulator.seed(account=account.account, databases=1)["databases"]
    assert again not in planted["databases"]


def test_what_is_in_the_making_can_be_ended_at_once(simulator: Simulator, rds: Any) -> None:
    make_instance(rds)
    simulator.config(pending=36_000)
    assert snapshot(rds, "s-1")["Status"] == "creating"
    simulator.finish("s-1")
    assert restore(rds)["DBInstanceStatus"] == "creating"
    simulator.finish("db-2")
    assert look(rds, "db-2")["DBInstanceStatus"] == "available"
