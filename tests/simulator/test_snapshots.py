"""EBS snapshots: made, watched, listed, deleted as in AWS."""

from typing import TYPE_CHECKING, Any

import pytest

from cpm.simulator.process import Credentials, Simulator
from tests.simulator.conftest import Clients, Later
from tests.simulator.expect import refused
from tests.simulator.resources import look, make_snapshot, make_volume, tagged

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def test_a_snapshot_is_pending_first_and_completed_when_its_time_is_over(
    simulator: Simulator, ec2: "EC2Client", later: Later
) -> None:
    volume_id = make_volume(ec2)
    simulator.config(pending=3600)
    made = ec2.create_snapshot(VolumeId=volume_id, Description="nightly")
    assert made["State"] == "pending"
    assert look(ec2, made["SnapshotId"])["State"] == "pending"
    later(3600)
    seen = look(ec2, made["SnapshotId"])
    assert (seen["State"], seen["Progress"]) == ("completed", "100%")
    assert seen["Description"] == "nightly"


def test_progress_rises_with_the_time(simulator: Simulator, ec2: "EC2Client", later: Later) -> None:
    volume_id = make_volume(ec2)
    simulator.config(pending=100_000)
    snapshot_id = make_snapshot(ec2, volume_id)
    seen = []
    for _ in range(4):
        shown = look(ec2, snapshot_id)
        seen.append((shown["State"], shown["Progress"]))
        later(33_400)
    assert seen == [
        ("pending", "0%"),
        ("pending", "33%"),
        ("pending", "66%"),
        ("completed", "100%"),
    ]


@pytest.mark.parametrize("which", ["volume", "snapshot"])
def test_a_snapshot_that_shall_fail_ends_in_error(
    simulator: Simulator, ec2: "EC2Client", which: str
) -> None:
    volume_id = make_volume(ec2)
    snapshot_id = make_snapshot(ec2, volume_id)
    simulator.config(fail=[volume_id if which == "volume" else snapshot_id])
    assert look(ec2, snapshot_id)["State"] == "error"
    simulator.config(fail=[])
    assert look(ec2, snapshot_id)["State"] == "error"


def test_a_completed_snapshot_stays_completed(simulator: Simulator, ec2: "EC2Client") -> None:
    snapshot_id = make_snapshot(ec2)
    assert look(ec2, snapshot_id)["State"] == "completed"
    simulator.config(fail=[snapshot_id])
    assert look(ec2, snapshot_id)["State"] == "completed"


def test_a_snapshot_of_a_missing_volume_is_refused(ec2: "EC2Client") -> None:
    with refused("InvalidVolume.NotFound", 400) as seen:
        ec2.create_snapshot(VolumeId="vol-0123456789abcdef0")
    assert seen.message == "The volume 'vol-0123456789abcdef0' does not exist."


def test_tags_in_the_call_are_on_the_snapshot_from_the_first_moment(ec2: "EC2Client") -> None:
    snapshot_id = make_snapshot(ec2, TagSpecifications=tagged("snapshot", cpm_token="t-1"))
    found = ec2.describe_snapshots(Filters=[{"Name": "tag:cpm_token", "Values": ["t-1"]}])
    assert [item["SnapshotId"] for item in found["Snapshots"]] == [snapshot_id]


def test_too_many_tags_make_no_snapshot(ec2: "EC2Client") -> None:
    volume_id = make_volume(ec2)
    with refused("TagLimitExceeded"):
        make_snapshot(
            ec2,
            volume_id,
            TagSpecifications=tagged("snapshot", **{f"k{n}": "v" for n in range(51)}),
        )
    assert not ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]


class TestOfInstances:
    """CreateSnapshots."""

    @pytest.fixture
    def machine(self, simulator: Simulator, account: Credentials) -> Any:
        planted = simulator.seed(
            account=account.account, instances=1, volumes_per=3, tags={"Team": "A"}
        )
        instance_id = planted["instances"][0]
        return {"id": instance_id, "volumes": planted["volumes"][instance_id]}

    def test_every_volume_gets_one_snapshot(self, ec2: "EC2Client", machine: Any) -> None:
        made = ec2.create_snapshots(
            InstanceSpecification={"InstanceId": machine["id"]},
            Description="all",
            TagSpecifications=tagged("snapshot", cpm_token="x"),
        )["Snapshots"]
        assert [item["VolumeId"] for item in made] == machine["volumes"]
        assert {item["Description"] for item in made} == {"all"}
        assert all(item["Tags"] == [{"Key": "cpm_token", "Value": "x"}] for item in made)

    def test_the_boot_volume_and_data_volumes_can_be_left_out(
        self, ec2: "EC2Client", machine: Any
    ) -> None:
        made = ec2.create_snapshots(
            InstanceSpecification={
                "InstanceId": machine["id"],
                "ExcludeBootVolume": True,
                "ExcludeDataVolumeIds": [machine["volumes"][1]],
            }
        )["Snapshots"]
        assert [item["VolumeId"] for item in made] == [machine["volumes"][2]]

    def test_tags_of_the_volumes_are_copied_on_request(
        self, ec2: "EC2Client", machine: Any
    ) -> None:
        made = ec2.create_snapshots(
            InstanceSpecification={"InstanceId": machine["id"]},
            CopyTagsFromSource="volume",
            TagSpecifications=tagged("snapshot", Name="ours"),
        )["Snapshots"]
        for item in made:
            assert {"Key": "Team", "Value": "A"} in item["Tags"]
            assert {"Key": "Name", "Value": "ours"} in item["Tags"]

    def test_a_failing_volume_lets_only_its_own_snapshot_fail(
        self, simulator: Simulator, ec2: "EC2Client", machine: Any
    ) -> None:
        simulator.config(fail=[machine["volumes"][0]])
        made = ec2.create_snapshots(InstanceSpecification={"InstanceId": machine["id"]})
        states = [look(ec2, item["SnapshotId"])["State"] for item in made["Snapshots"]]
        assert states == ["error", "completed", "completed"]

    def test_a_missing_instance_is_refused(self, ec2: "EC2Client") -> None:
        with refused("InvalidInstanceID.NotFound", 400):
            ec2.create_snapshots(InstanceSpecification={"InstanceId": "i-0123456789abcdef0"})


class TestDeleting:
    """DeleteSnapshot."""

    def test_a_deleted_snapshot_is_gone(self, ec2: "EC2Client") -> None:
        snapshot_id = make_snapshot(ec2)
        ec2.delete_snapshot(SnapshotId=snapshot_id)
        with refused("InvalidSnapshot.NotFound", 400):
            look(ec2, snapshot_id)
        with refused("InvalidSnapshot.NotFound", 400):
            ec2.delete_snapshot(SnapshotId=snapshot_id)

    def test_a_pending_snapshot_goes_when_its_making_is_over(
        self, simulator: Simulator, ec2: "EC2Client"
    ) -> None:
        volume_id = make_volume(ec2)
        simulator.config(pending=3600)
        snapshot_id = make_snapshot(ec2, volume_id)
        ec2.delete_snapshot(SnapshotId=snapshot_id)
        assert look(ec2, snapshot_id)["State"] == "pending"
        simulator.finish(snapshot_id)
        with refused("InvalidSnapshot.NotFound"):
            look(ec2, snapshot_id)


class TestListing:
    """DescribeSnapshots."""

    def test_pages_are_of_the_size_asked_for_and_miss_nothing(self, ec2: "EC2Client") -> None:
        made = {make_snapshot(ec2) for _ in range(12)}
        pages = ec2.get_paginator("describe_snapshots").paginate(
            OwnerIds=["self"], PaginationConfig={"PageSize": 5}
        )
        sizes_and_ids = [[item["SnapshotId"] for item in page["Snapshots"]] for page in pages]
        assert [len(page) for page in sizes_and_ids] == [5, 5, 2]
        assert {one for page in sizes_and_ids for one in page} == made

    def test_a_deletion_between_two_pages_hides_no_other_snapshot(self, ec2: "EC2Client") -> None:
        made = {make_snapshot(ec2) for _ in range(10)}
        first = ec2.describe_snapshots(OwnerIds=["self"], MaxResults=5)
        for item in first["Snapshots"]:
            ec2.delete_snapshot(SnapshotId=item["SnapshotId"])
        second = ec2.describe_snapshots(OwnerIds=["self"], NextToken=first["NextToken"])
        seen = {item["SnapshotId"] for item in first["Snapshots"] + second["Snapshots"]}
        assert seen == made

    @pytest.mark.parametrize("size", [4, 1001])
    def test_a_page_has_5_to_1000_snapshots(self, ec2: "EC2Client", size: int) -> None:
        with refused("InvalidParameterValue"):
            ec2.describe_snapshots(MaxResults=size)

    def test_ids_and_pages_exclude_each_other(self, ec2: "EC2Client") -> None:
        with refused("InvalidParameterCombination"):
            ec2.describe_snapshots(SnapshotIds=[make_snapshot(ec2)], MaxResults=5)

    def test_a_foreign_token_is_refused(self, ec2: "EC2Client") -> None:
        with refused("InvalidNextToken"):
            ec2.describe_snapshots(NextToken="bm9uc2Vuc2U=")

    def test_unknown_ids_among_others_are_named(self, ec2: "EC2Client") -> None:
        unknown = "snap-0123456789abcdef0"
        with refused("InvalidSnapshot.NotFound") as seen:
            ec2.describe_snapshots(SnapshotIds=[make_snapshot(ec2), unknown])
        assert seen.message == f"The snapshot '{unknown}' does not exist."

    def test_other_accounts_snapshots_are_not_listed(
        self, ec2: "EC2Client", client: Clients, new_account: Any
    ) -> None:
        snapshot_id = make_snapshot(ec2)
        stranger = client("ec2", new_account())
        assert not stranger.describe_snapshots()["Snapshots"]
        with refused("InvalidSnapshot.NotFound"):
            look(stranger, snapshot_id)

    def test_other_regions_snapshots_are_not_listed(
        self, ec2: "EC2Client", client: Clients, account: Credentials
    ) -> None:
        make_snapshot(ec2)
        elsewhere = client("ec2", account, "eu-west-1")
        assert not elsewhere.describe_snapshots(OwnerIds=["self"])["Snapshots"]

    @pytest.mark.parametrize(
        ("name", "value", "count"),
        [
            ("description", "night*", 1),
            ("status", "completed", 2),
            ("status", "pending", 0),
            ("tag-key", "Team", 1),
            ("tag-value", "A?", 1),
            ("tag:Team", "A1", 1),
            ("tag:Team", "a1", 0),
            ("volume-size", "16", 1),
            ("start-time", "2*", 2),
        ],
    )
    def test_filters_narrow_the_list(
        self, ec2: "EC2Client", name: str, value: str, count: int
    ) -> None:
        make_snapshot(ec2, Description="nightly", TagSpecifications=tagged("snapshot", Team="A1"))
        make_snapshot(ec2, make_volume(ec2, 16))
        found = ec2.describe_snapshots(
            OwnerIds=["self"], Filters=[{"Name": name, "Values": [value]}]
        )
        assert len(found["Snapshots"]) == count

    def test_filters_by_snapshot_volume_and_owner(
        self, ec2: "EC2Client", account: Credentials
    ) -> None:
        volume_id = make_volume(ec2)
        snapshot_id = make_snapshot(ec2, volume_id)
        make_snapshot(ec2)
        for name, value in (
            ("snapshot-id", snapshot_id),
            ("volume-id", volume_id),
        ):
            found = ec2.describe_snapshots(Filters=[{"Name": name, "Values": [value]}])
            assert [item["SnapshotId"] for item in found["Snapshots"]] == [snapshot_id]
        mine = ec2.describe_snapshots(Filters=[{"Name": "owner-id", "Values": [account.account]}])
        assert len(mine["Snapshots"]) == 2

    def test_a_filter_that_aws_lacks_is_refused(self, ec2: "EC2Client") -> None:
        with refused("InvalidParameterValue") as seen:
            ec2.describe_snapshots(Filters=[{"Name": "colour", "Values": ["red"]}])
        assert seen.message == "The filter 'colour' is invalid"


class TestQuotas:
    """The bounds that AWS sets; the slow ones are off until a test sets them."""

    def test_a_volume_has_five_pending_snapshots_at_most(
        self, simulator: Simulator, ec2: "EC2Client"
    ) -> None:
        volume_id = make_volume(ec2)
        simulator.config(pending=3600)
        made = [make_snapshot(ec2, volume_id) for _ in range(5)]
        with refused("ConcurrentSnapshotLimitExceeded"):
            make_snapshot(ec2, volume_id)
        simulator.finish(made[0])
        make_snapshot(ec2, volume_id)

    def test_two_snapshots_of_a_volume_keep_the_interval_that_is_set(
        self, simulator: Simulator, ec2: "EC2Client", later: Later
    ) -> None:
        volume_id = make_volume(ec2)
        simulator.config(limits={"volume_interval_seconds": 3600})
        make_snapshot(ec2, volume_id)
        with refused("SnapshotCreationPerVolumeRateExceeded"):
            make_snapshot(ec2, volume_id)
        make_snapshot(ec2)
        later(3600)
        make_snapshot(ec2, volume_id)

    def test_an_account_has_as_many_pending_snapshots_as_are_set(
        self, simulator: Simulator, ec2: "EC2Client"
    ) -> None:
        first, second, third = make_volume(ec2), make_volume(ec2), make_volume(ec2)
        simulator.config(pending=3600, limits={"pending_per_account": 2})
        make_snapshot(ec2, first)
        make_snapshot(ec2, second)
        with refused("PendingSnapshotLimitExceeded"):
            make_snapshot(ec2, third)
