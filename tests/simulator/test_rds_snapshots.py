"""RDS snapshots of instances and clusters: made, watched, listed, deleted."""

from typing import Any

import pytest

from cpm.simulator.process import Simulator
from tests.simulator.conftest import Later
from tests.simulator.databases import (
    cluster_snapshot,
    look,
    look_at,
    look_at_cluster,
    make_cluster,
    make_instance,
    names,
    snapshot,
    tag_list,
)
from tests.simulator.expect import refused


class TestStates:
    """Creating, then available or failed."""

    def test_a_snapshot_is_creating_with_rising_progress_and_then_available(
        self, simulator: Simulator, rds: Any, later: Later
    ) -> None:
        make_instance(rds)
        simulator.config(pending=100_000)
        made = rds.create_db_snapshot(DBSnapshotIdentifier="s-1", DBInstanceIdentifier="db-1")
        assert made["DBSnapshot"]["Status"] == "creating"
        seen = []
        for _ in range(3):
            shown = look_at(rds, "s-1")
            seen.append((shown["Status"], shown["PercentProgress"]))
            later(50_100)
        assert seen == [("creating", 0), ("creating", 50), ("available", 100)]

    def test_a_cluster_snapshot_is_creating_and_then_available(
        self, simulator: Simulator, rds: Any, later: Later
    ) -> None:
        make_cluster(rds)
        simulator.config(pending=3600)
        assert cluster_snapshot(rds, "s-1")["Status"] == "creating"
        later(3600)
        shown = look_at_cluster(rds, "s-1")
        assert (shown["Status"], shown["PercentProgress"]) == ("available", 100)

    @pytest.mark.parametrize("named", ["db-1", "s-1"])
    def test_a_snapshot_that_shall_fail_ends_failed(
        self, simulator: Simulator, rds: Any, named: str
    ) -> None:
        make_instance(rds)
        simulator.config(fail=[named])
        assert snapshot(rds, "s-1")["Status"] == "failed"
        rds.delete_db_snapshot(DBSnapshotIdentifier="s-1")

    def test_a_snapshot_in_the_making_cannot_be_deleted_copied_or_restored(
        self, simulator: Simulator, rds: Any
    ) -> None:
        make_instance(rds)
        simulator.config(pending=3600)
        snapshot(rds, "s-1")
        with refused("InvalidDBSnapshotState", 400):
            rds.delete_db_snapshot(DBSnapshotIdentifier="s-1")
        with refused("InvalidDBSnapshotState"):
            rds.copy_db_snapshot(SourceDBSnapshotIdentifier="s-1", TargetDBSnapshotIdentifier="s-2")
        with refused("InvalidDBSnapshotState"):
            rds.restore_db_instance_from_db_snapshot(
                DBInstanceIdentifier="db-2", DBSnapshotIdentifier="s-1"
            )

    def test_a_cluster_snapshot_in_the_making_cannot_be_deleted(
        self, simulator: Simulator, rds: Any
    ) -> None:
        make_cluster(rds)
        simulator.config(pending=3600)
        cluster_snapshot(rds, "s-1")
        with refused("InvalidDBClusterSnapshotStateFault"):
            rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier="s-1")

    def test_only_available_databases_are_snapshotted(self, simulator: Simulator, rds: Any) -> None:
        simulator.config(pending=36_000)
        assert make_instance(rds)["DBInstanceStatus"] == "creating"
        with refused("InvalidDBInstanceState"):
            snapshot(rds, "s-1")
        assert make_cluster(rds)["Status"] == "creating"
        with refused("InvalidDBClusterStateFault"):
            cluster_snapshot(rds, "s-1")

    def test_a_member_of_a_cluster_is_not_snapshotted_by_itself(self, rds: Any) -> None:
        make_cluster(rds)
        rds.create_db_instance(
            DBInstanceIdentifier="member-1",
            DBInstanceClass="db.r6g.large",
            Engine="aurora-mysql",
            DBClusterIdentifier="cluster-1",
        )
        with refused("InvalidDBInstanceState"):
            snapshot(rds, "s-1", "member-1")

    def test_what_is_not_there_is_refused_by_its_name(self, rds: Any) -> None:
        with refused("DBInstanceNotFound", 404):
            snapshot(rds, "s-1", "nothing")
        with refused("DBClusterNotFoundFault", 404):
            cluster_snapshot(rds, "s-1", "nothing")
        with refused("DBSnapshotNotFound", 404):
            look_at(rds, "nothing")
        with refused("DBSnapshotNotFound", 404):
            rds.delete_db_snapshot(DBSnapshotIdentifier="nothing")
        with refused("DBClusterSnapshotNotFoundFault", 404):
            rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier="nothing")

    def test_a_name_is_given_once(self, rds: Any) -> None:
        make_instance(rds)
        make_cluster(rds)
        snapshot(rds, "s-1")
        cluster_snapshot(rds, "s-1")
        with refused("DBSnapshotAlreadyExists"):
            snapshot(rds, "S-1")
        with refused("DBClusterSnapshotAlreadyExistsFault"):
            cluster_snapshot(rds, "s-1")

    def test_what_is_deleted_is_gone(self, rds: Any) -> None:
        make_instance(rds)
        make_cluster(rds)
        snapshot(rds, "s-1")
        cluster_snapshot(rds, "s-1")
        rds.delete_db_snapshot(DBSnapshotIdentifier="s-1")
        rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier="s-1")
        with refused("DBSnapshotNotFound"):
            look_at(rds, "s-1")
        with refused("DBClusterSnapshotNotFoundFault"):
            look_at_cluster(rds, "s-1")

    def test_a_made_snapshot_may_be_listed_late(
        self, simulator: Simulator, rds: Any, later: Later
    ) -> None:
        make_instance(rds)
        simulator.faults([{"op": "rds:CreateDBSnapshot", "kind": "unlisted", "seconds": 3600}])
        rds.create_db_snapshot(DBSnapshotIdentifier="s-1", DBInstanceIdentifier="db-1")
        assert names(rds.describe_db_snapshots()) == []
        with refused("DBSnapshotNotFound"):
            look_at(rds, "s-1")
        later(3600)
        assert look_at(rds, "s-1")["Status"] == "available"


class TestTagsAndLists:
    """Tags in calls and answers, filters, pages."""

    def test_tags_in_the_call_are_in_every_answer(self, rds: Any) -> None:
        make_instance(rds, Tags=tag_list(team="blue"))
        shown = snapshot(rds, "s-1", Tags=tag_list(cpm_token="t-1"))
        assert shown["TagList"] == tag_list(cpm_token="t-1")
        assert look(rds, "db-1")["TagList"] == tag_list(team="blue")
        rds.add_tags_to_resource(ResourceName=shown["DBSnapshotArn"], Tags=tag_list(a="b"))
        assert look_at(rds, "s-1")["TagList"] == tag_list(cpm_token="t-1", a="b")

    def test_an_instance_may_give_its_tags_to_its_snapshots(self, rds: Any) -> None:
        make_instance(rds, Tags=tag_list(team="blue"), CopyTagsToSnapshot=True)
        assert snapshot(rds, "s-1")["TagList"] == tag_list(team="blue")

    def test_snapshots_come_in_pages(self, rds: Any) -> None:
        make_instance(rds)
        for number in range(25):
            rds.create_db_snapshot(
                DBSnapshotIdentifier=f"s-{number:02}", DBInstanceIdentifier="db-1"
            )
        first = rds.describe_db_snapshots(SnapshotType="manual", MaxRecords=20)
        assert len(first["DBSnapshots"]) == 20
        rest = rds.describe_db_snapshots(
            SnapshotType="manual", MaxRecords=20, Marker=first["Marker"]
        )
        assert names(first) + names(rest) == [f"s-{number:02}" for number in range(25)]
        assert "Marker" not in rest

    def test_databases_come_in_pages(self, rds: Any) -> None:
        for number in range(21):
            make_cluster(rds, f"cluster-{number:02}")
            rds.create_db_instance(
                DBInstanceIdentifier=f"member-{number:02}",
                DBInstanceClass="db.r6g.large",
                Engine="aurora-mysql",
                DBClusterIdentifier=f"cluster-{number:02}",
            )
        pages = rds.get_paginator("describe_db_instances").paginate(
            PaginationConfig={"PageSize": 20}
        )
        assert [len(page["DBInstances"]) for page in pages] == [20, 1]
        clusters = rds.get_paginator("describe_db_clusters").paginate(
            PaginationConfig={"PageSize": 20}
        )
        shown = [item for page in clusters for item in page["DBClusters"]]
        assert len(shown) == 21
        assert shown[0]["DBClusterMembers"][0]["DBInstanceIdentifier"] == "member-00"

    @pytest.mark.parametrize("size", [19, 101])
    def test_a_page_has_20_to_100_records(self, rds: Any, size: int) -> None:
        with refused("InvalidParameterValue"):
            rds.describe_db_snapshots(MaxRecords=size)

    def test_filters_narrow_the_list(self, rds: Any) -> None:
        for name in ("db-1", "db-2"):
            make_instance(rds, name)
            snapshot(rds, f"of-{name}", name)
        by_id = [{"Name": "db-snapshot-id", "Values": ["of-db-1", "of-db-2"]}]
        assert names(rds.describe_db_snapshots(Filters=by_id)) == ["of-db-1", "of-db-2"]
        by_instance = [{"Name": "db-instance-id", "Values": ["db-2"]}]
        assert names(rds.describe_db_snapshots(Filters=by_instance)) == ["of-db-2"]
        assert names(rds.describe_db_snapshots(DBInstanceIdentifier="db-1")) == ["of-db-1"]
        automated = rds.describe_db_snapshots(
            Filters=[{"Name": "snapshot-type", "Values": ["automated"]}]
        )
        assert len(automated["DBSnapshots"]) == 2
        with refused("InvalidParameterValue"):
            rds.describe_db_snapshots(Filters=[{"Name": "colour", "Values": ["red"]}])

    def test_manual_snapshots_are_limited(self, simulator: Simulator, rds: Any) -> None:
        simulator.config(limits={"rds_snapshots": 2})
        make_instance(rds)
        snapshot(rds, "s-1")
        snapshot(rds, "s-2")
        with refused("SnapshotQuotaExceeded") as seen:
            snapshot(rds, "s-3")
        assert seen.message == "Cannot create more than 2 manual snapshots"
        rds.delete_db_snapshot(DBSnapshotIdentifier="s-1")
        snapshot(rds, "s-3")
