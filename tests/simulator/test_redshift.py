"""Redshift's snapshots: made, watched, listed, shared, deleted, restored."""

from typing import Any

import pytest

from cpm.simulator.process import Credentials, Simulator
from tests.simulator.conftest import Clients, Later
from tests.simulator.databases import tag_list
from tests.simulator.expect import refused


@pytest.fixture
def redshift(client: Clients, account: Credentials) -> Any:
    """Redshift in the test's own account."""
    return client("redshift", account)


@pytest.fixture
def theirs(client: Clients, other: Credentials) -> Any:
    """Redshift as the other account sees it."""
    return client("redshift", other)


def make_cluster(redshift: Any, name: str = "dw-1", **more: Any) -> None:
    """A cluster that is available."""
    wanted: dict[str, Any] = {
        "ClusterIdentifier": name,
        "NodeType": "ra3.xlplus",
        "NumberOfNodes": 2,
        "ClusterType": "multi-node",
        "MasterUsername": "admin",
        "MasterUserPassword": "Secret-secret1",
        "DBName": "shop",
    }
    redshift.create_cluster(**{**wanted, **more})


def snapshot(redshift: Any, name: str = "s-1", cluster: str = "dw-1", **more: Any) -> Any:
    """A snapshot of a cluster, as it is seen right after."""
    redshift.create_cluster_snapshot(SnapshotIdentifier=name, ClusterIdentifier=cluster, **more)
    return look(redshift, name)


def look(redshift: Any, name: str) -> Any:
    """A snapshot as it is now."""
    return redshift.describe_cluster_snapshots(SnapshotIdentifier=name)["Snapshots"][0]


def cluster(redshift: Any, name: str) -> Any:
    """A cluster as it is now."""
    return redshift.describe_clusters(ClusterIdentifier=name)["Clusters"][0]


def names(answer: Any) -> list[str]:
    """The snapshots in an answer."""
    return [item["SnapshotIdentifier"] for item in answer["Snapshots"]]


def test_a_snapshot_is_creating_with_progress_and_then_available(
    simulator: Simulator, redshift: Any, later: Later
) -> None:
    make_cluster(redshift)
    simulator.config(pending=10_000)
    shown = snapshot(redshift)
    assert (shown["Status"], shown["BackupProgressInMegaBytes"]) == ("creating", 0.0)
    later(5_050)
    shown = look(redshift, "s-1")
    assert shown["BackupProgressInMegaBytes"] * 2 == shown["TotalBackupSizeInMegaBytes"]
    assert shown["EstimatedSecondsToCompletion"] == 5_000
    with refused("InvalidClusterSnapshotState"):
        redshift.delete_cluster_snapshot(SnapshotIdentifier="s-1")
    later(5_000)
    assert look(redshift, "s-1")["Status"] == "available"


def test_a_snapshot_that_shall_fail_ends_failed(simulator: Simulator, redshift: Any) -> None:
    make_cluster(redshift)
    simulator.config(fail=["dw-1"])
    assert snapshot(redshift)["Status"] == "failed"


def test_what_is_not_there_and_what_is_there_already_is_refused(redshift: Any) -> None:
    with refused("ClusterNotFound", 404):
        snapshot(redshift)
    with refused("ClusterSnapshotNotFound", 404):
        look(redshift, "s-1")
    with refused("ClusterSnapshotNotFound", 404):
        redshift.delete_cluster_snapshot(SnapshotIdentifier="s-1")
    make_cluster(redshift)
    snapshot(redshift)
    with refused("ClusterSnapshotAlreadyExists"):
        snapshot(redshift)


def test_snapshots_come_in_pages_by_cluster_and_by_tag(simulator: Simulator, redshift: Any) -> None:
    simulator.config(limits={"redshift_snapshots": None})
    make_cluster(redshift)
    make_cluster(redshift, "dw-2")
    for number in range(22):
        snapshot(redshift, f"s-{number:02}", Tags=tag_list(number=str(number)))
    snapshot(redshift, "other", "dw-2")
    pages = redshift.get_paginator("describe_cluster_snapshots").paginate(
        ClusterIdentifier="dw-1", SnapshotType="manual", PaginationConfig={"PageSize": 20}
    )
    assert [len(page["Snapshots"]) for page in pages] == [20, 2]
    tagged = redshift.describe_cluster_snapshots(TagKeys=["number"], TagValues=["7"])
    assert names(tagged) == ["s-07"]
    assert tagged["Snapshots"][0]["Tags"] == tag_list(number="7")


def test_manual_snapshots_are_limited(simulator: Simulator, redshift: Any) -> None:
    simulator.config(limits={"redshift_snapshots": 1})
    make_cluster(redshift)
    snapshot(redshift)
    with refused("ClusterSnapshotQuotaExceeded"):
        snapshot(redshift, "s-2")
    redshift.delete_cluster_snapshot(SnapshotIdentifier="s-1")
    snapshot(redshift, "s-2")


def test_a_made_snapshot_may_be_listed_late(
    simulator: Simulator, redshift: Any, later: Later
) -> None:
    make_cluster(redshift)
    op = "redshift:CreateClusterSnapshot"
    simulator.faults([{"op": op, "kind": "unlisted", "seconds": 3600}])
    redshift.create_cluster_snapshot(SnapshotIdentifier="s-1", ClusterIdentifier="dw-1")
    with refused("ClusterSnapshotNotFound"):
        look(redshift, "s-1")
    later(3600)
    assert look(redshift, "s-1")["Status"] == "available"


def test_another_account_sees_and_restores_what_it_is_authorized_for(
    redshift: Any, theirs: Any, account: Credentials, other: Credentials
) -> None:
    make_cluster(redshift)
    snapshot(redshift)
    wanted: Any = {
        "ClusterIdentifier": "dw-9",
        "SnapshotIdentifier": "s-1",
        "OwnerAccount": account.account,
    }
    with refused("ClusterSnapshotNotFound"):
        theirs.restore_from_cluster_snapshot(**wanted)
    access: Any = {"SnapshotIdentifier": "s-1", "AccountWithRestoreAccess": other.account}
    shared = redshift.authorize_snapshot_access(**access)["Snapshot"]
    assert shared["AccountsWithRestoreAccess"] == [{"AccountId": other.account}]
    with refused("AuthorizationAlreadyExists"):
        redshift.authorize_snapshot_access(**access)
    with refused("InvalidClusterSnapshotState"):
        redshift.delete_cluster_snapshot(SnapshotIdentifier="s-1")
    seen = theirs.describe_cluster_snapshots(OwnerAccount=account.account)
    assert names(seen) == ["s-1"]
    assert names(theirs.describe_cluster_snapshots()) == []
    theirs.restore_from_cluster_snapshot(**wanted)
    assert cluster(theirs, "dw-9")["DBName"] == "shop"
    redshift.revoke_snapshot_access(**access)
    assert names(theirs.describe_cluster_snapshots(OwnerAccount=account.account)) == []
    with refused("AuthorizationNotFound", 404):
        redshift.revoke_snapshot_access(**access)
    redshift.delete_cluster_snapshot(SnapshotIdentifier="s-1")


def test_a_cluster_comes_back_as_it_was_though_its_original_is_gone(
    simulator: Simulator, redshift: Any, later: Later
) -> None:
    make_cluster(redshift)
    snapshot(redshift)
    redshift.delete_cluster(ClusterIdentifier="dw-1", SkipFinalClusterSnapshot=True)
    simulator.config(pending=36_000)
    made = redshift.restore_from_cluster_snapshot(
        ClusterIdentifier="dw-1", SnapshotIdentifier="s-1"
    )["Cluster"]
    assert made["ClusterStatus"] == "creating"
    with refused("InvalidClusterState"):
        snapshot(redshift, "s-2")
    later(3600)
    shown = cluster(redshift, "dw-1")
    assert (shown["ClusterStatus"], shown["NumberOfNodes"]) == ("available", 2)
    assert (shown["DBName"], shown["MasterUsername"]) == ("shop", "admin")


def test_every_option_of_a_restore_is_taken(redshift: Any) -> None:
    make_cluster(redshift)
    snapshot(redshift)
    redshift.restore_from_cluster_snapshot(
        ClusterIdentifier="dw-2",
        SnapshotIdentifier="s-1",
        Port=5555,
        AvailabilityZone="us-east-1c",
        NodeType="ra3.4xlarge",
        NumberOfNodes=4,
        PubliclyAccessible=True,
        AutomatedSnapshotRetentionPeriod=7,
        AllowVersionUpgrade=False,
        EnhancedVpcRouting=True,
        PreferredMaintenanceWindow="sun:03:00-sun:04:00",
    )
    shown = cluster(redshift, "dw-2")
    assert shown["Endpoint"]["Port"] == 5555
    assert shown["AvailabilityZone"] == "us-east-1c"
    assert (shown["NodeType"], shown["NumberOfNodes"]) == ("ra3.4xlarge", 4)
    assert shown["PubliclyAccessible"] is True
    assert shown["AutomatedSnapshotRetentionPeriod"] == 7
    assert shown["AllowVersionUpgrade"] is False
    assert shown["EnhancedVpcRouting"] is True
    assert shown["PreferredMaintenanceWindow"] == "sun:03:00-sun:04:00"


def test_a_taken_name_and_a_missing_cluster_are_refused(redshift: Any) -> None:
    make_cluster(redshift)
    snapshot(redshift)
    with refused("ClusterAlreadyExists"):
        redshift.restore_from_cluster_snapshot(ClusterIdentifier="dw-1", SnapshotIdentifier="s-1")
    with refused("ClusterNotFound", 404):
        cluster(redshift, "nothing")


def test_a_cluster_tells_how_much_it_holds_and_a_snapshot_what_it_fits_into(redshift: Any) -> None:
    make_cluster(redshift, NodeType="dc2.large", NumberOfNodes=3)
    assert cluster(redshift, "dw-1")["TotalStorageCapacityInMegaBytes"] == 3 * 160 * 1024
    types = snapshot(redshift)["RestorableNodeTypes"]
    assert {"dc2.8xlarge", "ra3.4xlarge"} <= set(types)


def test_a_restored_cluster_tells_that_it_is_one_and_keeps_the_tags(
    simulator: Simulator, redshift: Any, later: Later, account: Credentials
) -> None:
    make_cluster(redshift)
    snapshot(redshift, Tags=tag_list(team="blue"))
    simulator.config(pending=36_000)
    redshift.restore_from_cluster_snapshot(
        ClusterIdentifier="dw-2", SnapshotIdentifier="s-1", MultiAZ=True
    )
    shown = cluster(redshift, "dw-2")
    assert (shown["RestoreStatus"]["Status"], shown["MultiAZ"]) == ("restoring", "Enabled")
    later(3600)
    shown = cluster(redshift, "dw-2")
    assert (shown["RestoreStatus"]["Status"], shown["Tags"]) == ("completed", tag_list(team="blue"))
    assert shown["ClusterNamespaceArn"].split(":")[4] == account.account
    assert "RestoreStatus" not in cluster(redshift, "dw-1")
