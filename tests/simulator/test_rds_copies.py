"""RDS snapshots are copied: to other regions, under other keys, so many at a time."""

from typing import Any

from cpm.simulator.process import Credentials, Simulator
from tests.simulator.conftest import Clients, Later
from tests.simulator.databases import (
    cluster_snapshot,
    look_at,
    look_at_cluster,
    make_cluster,
    make_instance,
    make_key,
    names,
    snapshot,
    tag_list,
)
from tests.simulator.expect import refused


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
