"""What one account shares with another, and copies between accounts and regions."""

from typing import TYPE_CHECKING, Any

import pytest

from cpm.simulator.process import Credentials, Simulator
from tests.simulator.conftest import Clients
from tests.simulator.expect import refused
from tests.simulator.resources import (
    look,
    make_completed,
    make_snapshot,
    make_volume,
    run_instance,
    tagged,
    tags_of,
)

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@pytest.fixture
def theirs(client: Clients, other: Credentials) -> "EC2Client":
    """EC2 as the other account sees it."""
    made: EC2Client = client("ec2", other)
    return made


def share(ec2: "EC2Client", snapshot_id: str, account: str, operation: Any = "add") -> None:
    """Share a snapshot with an account, or take it back with `remove`."""
    ec2.modify_snapshot_attribute(
        SnapshotId=snapshot_id,
        Attribute="createVolumePermission",
        OperationType=operation,
        UserIds=[account],
    )


def ids(answer: Any) -> list[str]:
    """The ids in DescribeSnapshots' answer."""
    return [item["SnapshotId"] for item in answer["Snapshots"]]


class TestSnapshots:
    """ModifySnapshotAttribute and what it opens."""

    def test_a_shared_snapshot_is_listed_to_the_other_account(
        self, ec2: "EC2Client", theirs: "EC2Client", account: Credentials, other: Credentials
    ) -> None:
        snapshot_id = make_completed(ec2, TagSpecifications=tagged("snapshot", Name="mine"))
        share(ec2, snapshot_id, other.account)
        assert ids(theirs.describe_snapshots()) == [snapshot_id]
        assert ids(theirs.describe_snapshots(RestorableByUserIds=["self"])) == [snapshot_id]
        assert ids(theirs.describe_snapshots(OwnerIds=[account.account])) == [snapshot_id]
        assert ids(theirs.describe_snapshots(OwnerIds=["self"])) == []
        assert look(theirs, snapshot_id)["OwnerId"] == account.account
        assert tags_of(look(theirs, snapshot_id)) == {}

    def test_an_unshared_snapshot_is_gone_for_the_other_account(
        self, ec2: "EC2Client", theirs: "EC2Client", other: Credentials
    ) -> None:
        snapshot_id = make_completed(ec2)
        share(ec2, snapshot_id, other.account)
        share(ec2, snapshot_id, other.account, "remove")
        assert ids(theirs.describe_snapshots()) == []
        with refused("InvalidSnapshot.NotFound"):
            theirs.create_volume(AvailabilityZone="us-east-1a", SnapshotId=snapshot_id)
        with refused("InvalidSnapshot.NotFound"):
            theirs.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=snapshot_id)

    def test_a_shared_snapshot_is_copied_and_restored_but_not_deleted_by_the_other_account(
        self, ec2: "EC2Client", theirs: "EC2Client", other: Credentials
    ) -> None:
        snapshot_id = make_completed(ec2, make_volume(ec2, 17))
        share(ec2, snapshot_id, other.account)
        volume = theirs.create_volume(AvailabilityZone="us-east-1a", SnapshotId=snapshot_id)
        assert volume["Size"] == 17
        copy_id = theirs.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=snapshot_id)[
            "SnapshotId"
        ]
        copy = look(theirs, copy_id)
        assert (copy["OwnerId"], copy["VolumeSize"]) == (other.account, 17)
        with refused("InvalidSnapshot.NotFound"):
            theirs.delete_snapshot(SnapshotId=snapshot_id)

    def test_whom_a_snapshot_is_shared_with_can_be_read(
        self, ec2: "EC2Client", other: Credentials
    ) -> None:
        snapshot_id = make_completed(ec2)
        ec2.modify_snapshot_attribute(
            SnapshotId=snapshot_id,
            CreateVolumePermission={"Add": [{"UserId": other.account}, {"Group": "all"}]},
        )
        seen = ec2.describe_snapshot_attribute(
            SnapshotId=snapshot_id, Attribute="createVolumePermission"
        )
        assert seen["CreateVolumePermissions"] == [{"UserId": other.account}, {"Group": "all"}]
        ec2.reset_snapshot_attribute(SnapshotId=snapshot_id, Attribute="createVolumePermission")
        seen = ec2.describe_snapshot_attribute(
            SnapshotId=snapshot_id, Attribute="createVolumePermission"
        )
        assert seen["CreateVolumePermissions"] == []

    def test_a_snapshot_under_awss_own_key_is_not_shared(
        self, ec2: "EC2Client", other: Credentials
    ) -> None:
        snapshot_id = make_completed(ec2, make_volume(ec2, Encrypted=True))
        with refused("OperationNotPermitted") as seen:
            share(ec2, snapshot_id, other.account)
        assert seen.message == "Encrypted snapshots with EBS default key cannot be shared"

    def test_a_snapshot_under_a_key_of_ones_own_is_shared(
        self,
        ec2: "EC2Client",
        theirs: "EC2Client",
        client: Clients,
        account: Credentials,
        other: Credentials,
    ) -> None:
        key = client("kms", account).create_key()["KeyMetadata"]["Arn"]
        snapshot_id = make_completed(ec2, make_volume(ec2, Encrypted=True, KmsKeyId=key))
        assert look(ec2, snapshot_id)["KmsKeyId"] == key
        share(ec2, snapshot_id, other.account)
        assert ids(theirs.describe_snapshots()) == [snapshot_id]

    def test_a_number_that_is_no_account_is_refused(self, ec2: "EC2Client") -> None:
        with refused("InvalidParameterValue"):
            share(ec2, make_completed(ec2), "12345")


class TestCopies:
    """CopySnapshot."""

    @pytest.fixture
    def west(self, client: Clients, account: Credentials) -> "EC2Client":
        made: EC2Client = client("ec2", account, "us-west-2")
        return made

    def test_a_copy_is_pending_and_then_complete_in_the_other_region(
        self, simulator: Simulator, ec2: "EC2Client", west: "EC2Client"
    ) -> None:
        snapshot_id = make_completed(ec2, make_volume(ec2, 19))
        simulator.config(pending=3600)
        made = west.copy_snapshot(
            SourceRegion="us-east-1",
            SourceSnapshotId=snapshot_id,
            Description="far away",
            TagSpecifications=tagged("snapshot", Name="copy"),
        )
        assert made["Tags"] == [{"Key": "Name", "Value": "copy"}]
        assert look(west, made["SnapshotId"])["State"] == "pending"
        simulator.finish(made["SnapshotId"])
        copy = look(west, made["SnapshotId"])
        assert (copy["State"], copy["VolumeSize"], copy["Description"]) == (
            "completed",
            19,
            "far away",
        )
        assert copy["VolumeId"] == "vol-ffffffff"

    def test_a_copy_fails_when_its_source_shall_fail(
        self, simulator: Simulator, ec2: "EC2Client", west: "EC2Client"
    ) -> None:
        snapshot_id = make_completed(ec2)
        simulator.config(fail=[snapshot_id])
        made = west.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=snapshot_id)
        assert look(west, made["SnapshotId"])["State"] == "error"
        assert look(ec2, snapshot_id)["State"] == "completed"

    def test_a_pending_snapshot_is_not_copied(
        self, simulator: Simulator, ec2: "EC2Client", west: "EC2Client"
    ) -> None:
        volume_id = make_volume(ec2)
        simulator.config(pending=3600)
        snapshot_id = make_snapshot(ec2, volume_id)
        with refused("IncorrectState"):
            west.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=snapshot_id)

    def test_a_missing_snapshot_is_not_copied(self, west: "EC2Client") -> None:
        with refused("InvalidSnapshot.NotFound"):
            west.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId="snap-0123456789abcdef0")

    def test_an_encrypted_copy_uses_the_key_of_its_own_region(
        self, ec2: "EC2Client", west: "EC2Client"
    ) -> None:
        snapshot_id = make_completed(ec2, make_volume(ec2, Encrypted=True))
        made = west.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=snapshot_id)
        copy = look(west, made["SnapshotId"])
        assert copy["Encrypted"]
        assert copy["KmsKeyId"].startswith("arn:aws:kms:us-west-2:")

    def test_twenty_copies_run_at_a_time_in_one_region(
        self,
        simulator: Simulator,
        ec2: "EC2Client",
        west: "EC2Client",
        client: Clients,
        account: Credentials,
    ) -> None:
        source: dict[str, Any] = {
            "SourceRegion": "us-east-1",
            "SourceSnapshotId": make_completed(ec2),
        }
        simulator.config(pending=3600)
        made = [west.copy_snapshot(**source)["SnapshotId"] for _ in range(20)]
        with refused("ResourceLimitExceeded") as seen:
            west.copy_snapshot(**source)
        assert "The limit is 20 for this destination region" in seen.message
        client("ec2", account, "eu-west-1").copy_snapshot(**source)
        simulator.finish(made[0])
        west.copy_snapshot(**source)
        simulator.config(limits={"copies": None})
        west.copy_snapshot(**source)


class TestImages:
    """ModifyImageAttribute and what it opens."""

    @pytest.fixture
    def image_id(self, ec2: "EC2Client") -> str:
        instance_id = run_instance(ec2)["InstanceId"]
        made = ec2.create_image(InstanceId=instance_id, Name="shared")["ImageId"]
        assert look(ec2, made)["State"] == "available"
        return made

    def test_a_shared_image_is_listed_and_started_by_the_other_account(
        self, ec2: "EC2Client", theirs: "EC2Client", other: Credentials, image_id: str
    ) -> None:
        with refused("InvalidAMIID.NotFound"):
            run_instance(theirs, ImageId=image_id)
        ec2.modify_image_attribute(
            ImageId=image_id, LaunchPermission={"Add": [{"UserId": other.account}]}
        )
        found = theirs.describe_images(ExecutableUsers=["self"])["Images"]
        assert [image["ImageId"] for image in found] == [image_id]
        assert run_instance(theirs, ImageId=image_id)["ImageId"] == image_id
        ec2.modify_image_attribute(
            ImageId=image_id, LaunchPermission={"Remove": [{"UserId": other.account}]}
        )
        with refused("InvalidAMIID.NotFound"):
            look(theirs, image_id)

    def test_a_shared_image_is_copied_when_its_snapshots_are_shared_too(
        self, ec2: "EC2Client", theirs: "EC2Client", other: Credentials, image_id: str
    ) -> None:
        ec2.modify_image_attribute(
            ImageId=image_id,
            Attribute="launchPermission",
            OperationType="add",
            UserIds=[other.account],
        )
        source: dict[str, Any] = {"SourceImageId": image_id, "SourceRegion": "us-east-1"}
        with refused("InvalidRequest") as seen:
            theirs.copy_image(Name="ours", **source)
        assert seen.message == "You do not have permission to access the storage of this ami"
        for item in look(ec2, image_id)["BlockDeviceMappings"]:
            share(ec2, item["Ebs"]["SnapshotId"], other.account)
        copy = look(theirs, theirs.copy_image(Name="ours", **source)["ImageId"])
        assert (copy["OwnerId"], copy["State"]) == (other.account, "available")
