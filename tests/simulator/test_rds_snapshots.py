"""RDS snapshots of instances and clusters: made, watched, listed, copied, shared, deleted."""

from collections.abc import Callable
from typing import Any

import pytest

from cpm.simulator.process import Credentials, Simulator
from tests.simulator.conftest import Clients, Later
from tests.simulator.databases import (
    cluster_snapshot,
    look,
    look_at,
    look_at_cluster,
    make_cluster,
    make_instance,
    make_key,
    snapshot,
    tag_list,
)
from tests.simulator.expect import refused


@pytest.fixture
def rds(client: Clients, account: Credentials) -> Any:
    """RDS in the test's own account."""
    return client("rds", account)


@pytest.fixture
def west(client: Clients, account: Credentials) -> Any:
    """RDS of the same account in another region."""
    return client("rds", account, "us-west-2")


@pytest.fixture
def kms(client: Clients, account: Credentials) -> Any:
    """KMS in the test's own account."""
    return client("kms", account)


@pytest.fixture
def other(new_account: Callable[[], Credentials]) -> Credentials:
    """Another account."""
    return new_account()


@pytest.fixture
def theirs(client: Clients, other: Credentials) -> Any:
    """RDS as the other account sees it."""
    return client("rds", other)


def share(rds: Any, name: str, account: str) -> None:
    """Share a snapshot of an instance."""
    rds.modify_db_snapshot_attribute(
        DBSnapshotIdentifier=name, AttributeName="restore", ValuesToAdd=[account]
    )


def names(answer: Any) -> list[str]:
    """The snapshots in an answer that somebody asked for, not those that RDS made itself."""
    return [
        item["DBSnapshotIdentifier"]
        for item in answer["DBSnapshots"]
        if item["SnapshotType"] == "manual"
    ]


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


class TestCopies:
    """Between regions, encrypted or not."""

    def test_a_copy_goes_to_another_region_with_its_tags(
        self, simulator: Simulator, rds: Any, west: Any, later: Later
    ) -> None:
        make_instance(rds)
        arn = snapshot(rds, "s-1", Tags=tag_list(a="b"))["DBSnapshotArn"]
        simulator.config(pending=3600)
        made = west.copy_db_snapshot(
            SourceDBSnapshotIdentifier=arn,
            TargetDBSnapshotIdentifier="copy-1",
            SourceRegion="us-east-1",
            CopyTags=True,
        )["DBSnapshot"]
        assert (made["Status"], made["SourceRegion"]) == ("creating", "us-east-1")
        assert made["SourceDBSnapshotIdentifier"] == arn
        later(3600)
        shown = look_at(west, "copy-1")
        assert (shown["Status"], shown["TagList"]) == ("available", tag_list(a="b"))

    def test_tags_in_the_call_replace_the_copied_ones(self, rds: Any, west: Any) -> None:
        make_instance(rds, Tags=tag_list(of="instance"), CopyTagsToSnapshot=True)
        arn = snapshot(rds, "s-1")["DBSnapshotArn"]
        west.copy_db_snapshot(
            SourceDBSnapshotIdentifier=arn,
            TargetDBSnapshotIdentifier="copy-1",
            SourceRegion="us-east-1",
            CopyTags=True,
            Tags=tag_list(own="tag"),
        )
        assert look_at(west, "copy-1")["TagList"] == tag_list(own="tag")
        rds.copy_db_snapshot(SourceDBSnapshotIdentifier="s-1", TargetDBSnapshotIdentifier="bare")
        assert look_at(rds, "bare")["TagList"] == []

    def test_a_cluster_snapshot_is_copied_to_another_region(self, rds: Any, west: Any) -> None:
        make_cluster(rds)
        arn = cluster_snapshot(rds, "s-1")["DBClusterSnapshotArn"]
        west.copy_db_cluster_snapshot(
            SourceDBClusterSnapshotIdentifier=arn,
            TargetDBClusterSnapshotIdentifier="copy-1",
            SourceRegion="us-east-1",
        )
        shown = look_at_cluster(west, "copy-1")
        assert shown["SourceDBClusterSnapshotArn"] == arn
        assert shown["StorageEncrypted"] is False

    def test_an_encrypted_snapshot_crosses_regions_only_with_a_key_of_the_target(
        self, client: Clients, account: Credentials, rds: Any, west: Any
    ) -> None:
        make_instance(rds, StorageEncrypted=True)
        arn = snapshot(rds, "s-1")["DBSnapshotArn"]
        wanted: Any = {
            "SourceDBSnapshotIdentifier": arn,
            "TargetDBSnapshotIdentifier": "copy-1",
            "SourceRegion": "us-east-1",
        }
        with refused("KMSKeyNotAccessibleFault"):
            west.copy_db_snapshot(**wanted)
        with refused("KMSKeyNotAccessibleFault"):
            west.copy_db_snapshot(**wanted, KmsKeyId=look_at(rds, "s-1")["KmsKeyId"])
        key = make_key(client("kms", account, "us-west-2"))
        with refused("InvalidParameterValue"):
            west.copy_db_snapshot(**{**wanted, "SourceRegion": "eu-west-1"}, KmsKeyId=key)
        west.copy_db_snapshot(**wanted, KmsKeyId=key)
        shown = look_at(west, "copy-1")
        assert (shown["Encrypted"], shown["KmsKeyId"]) == (True, key)

    def test_a_copy_may_be_encrypted_and_an_encrypted_one_stays_so(
        self, rds: Any, kms: Any
    ) -> None:
        make_instance(rds)
        snapshot(rds, "s-1")
        key = make_key(kms)
        rds.copy_db_snapshot(
            SourceDBSnapshotIdentifier="s-1", TargetDBSnapshotIdentifier="s-2", KmsKeyId=key
        )
        rds.copy_db_snapshot(SourceDBSnapshotIdentifier="s-2", TargetDBSnapshotIdentifier="s-3")
        assert look_at(rds, "s-3")["KmsKeyId"] == key

    def test_the_key_of_rds_is_there_when_it_is_asked_for(self, rds: Any, kms: Any) -> None:
        make_instance(rds, StorageEncrypted=True, KmsKeyId=make_key(kms))
        snapshot(rds, "s-1")
        rds.copy_db_snapshot(
            SourceDBSnapshotIdentifier="s-1",
            TargetDBSnapshotIdentifier="s-2",
            KmsKeyId="alias/aws/rds",
        )
        key = kms.describe_key(KeyId=look_at(rds, "s-2")["KmsKeyId"])["KeyMetadata"]
        assert key["KeyManager"] == "AWS"

    def test_a_copy_in_the_making_is_given_up_by_deleting_it(
        self, simulator: Simulator, rds: Any, west: Any
    ) -> None:
        make_instance(rds)
        arn = snapshot(rds, "s-1")["DBSnapshotArn"]
        simulator.config(pending=3600)
        west.copy_db_snapshot(
            SourceDBSnapshotIdentifier=arn,
            TargetDBSnapshotIdentifier="copy-1",
            SourceRegion="us-east-1",
        )
        west.delete_db_snapshot(DBSnapshotIdentifier="copy-1")
        assert names(west.describe_db_snapshots()) == []

    def test_a_copy_takes_an_option_group_that_is_there(self, rds: Any, west: Any) -> None:
        make_instance(rds)
        wanted: Any = {
            "SourceDBSnapshotIdentifier": snapshot(rds, "s-1")["DBSnapshotArn"],
            "TargetDBSnapshotIdentifier": "copy-1",
            "SourceRegion": "us-east-1",
            "OptionGroupName": "options",
        }
        with refused("OptionGroupNotFoundFault"):
            west.copy_db_snapshot(**wanted)
        west.create_option_group(
            OptionGroupName="options",
            EngineName="mysql",
            MajorEngineVersion="5.6",
            OptionGroupDescription="x",
        )
        west.copy_db_snapshot(**wanted)
        assert look_at(west, "copy-1")["OptionGroupName"] == "options"

    def test_names_of_snapshots_have_their_length(self, rds: Any) -> None:
        make_instance(rds)
        make_cluster(rds)
        snapshot(rds, "s" * 255)
        with refused("InvalidParameterValue"):
            cluster_snapshot(rds, "s" * 64)

    def test_copies_across_regions_at_one_time_are_limited(
        self, simulator: Simulator, rds: Any, west: Any, later: Later
    ) -> None:
        make_instance(rds)
        arn = snapshot(rds, "s-1")["DBSnapshotArn"]
        simulator.config(pending=3600, limits={"rds_copies": 1})

        def copy(name: str) -> None:
            west.copy_db_snapshot(
                SourceDBSnapshotIdentifier=arn,
                TargetDBSnapshotIdentifier=name,
                SourceRegion="us-east-1",
            )

        copy("copy-1")
        with refused("SnapshotQuotaExceeded") as seen:
            copy("copy-2")
        assert seen.message == "Cannot copy more than 1 snapshots across regions"
        later(3600)
        copy("copy-2")


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
