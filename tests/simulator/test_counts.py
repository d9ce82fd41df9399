"""What was called is counted and logged; the rest of the control interface."""

from typing import TYPE_CHECKING, Any

import pytest

from cpm.simulator.process import Credentials, Simulator, SimulatorFailed
from tests.simulator.conftest import Clients
from tests.simulator.expect import refused
from tests.simulator.resources import make_snapshot, make_volume

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def test_calls_are_counted_by_operation(
    simulator: Simulator, ec2: "EC2Client", client: Clients, account: Credentials
) -> None:
    simulator.reset_counts()
    volume_id = make_volume(ec2)
    for _ in range(3):
        make_snapshot(ec2, volume_id)
    client("sts", account).get_caller_identity()
    s3 = client("s3", account)
    s3.create_bucket(Bucket="counted")
    s3.put_object(Bucket="counted", Key="a/b", Body=b"x")
    s3.list_objects_v2(Bucket="counted")
    client("dynamodb", account).list_tables()
    assert simulator.counts() == {
        "ec2:CreateVolume": 1,
        "ec2:CreateSnapshot": 3,
        "sts:GetCallerIdentity": 1,
        "s3:CreateBucket": 1,
        "s3:PutObject": 1,
        "s3:ListObjectsV2": 1,
        "dynamodb:ListTables": 1,
    }
    simulator.reset_counts()
    assert simulator.counts() == {}


def test_counts_can_be_had_by_account_and_region(
    simulator: Simulator, client: Clients, account: Credentials, new_account: Any
) -> None:
    other = new_account()
    simulator.reset_counts()
    client("ec2", account).describe_volumes()
    client("ec2", account, "eu-west-1").describe_volumes()
    client("ec2", other).describe_volumes()
    rows = [
        {"op": "ec2:DescribeVolumes", "account": account.account, "region": "eu-west-1"},
        {"op": "ec2:DescribeVolumes", "account": account.account, "region": "us-east-1"},
        {"op": "ec2:DescribeVolumes", "account": other.account, "region": "us-east-1"},
    ]
    assert simulator.counts_by("account", "region") == [{**row, "count": 1} for row in rows]
    with pytest.raises(SimulatorFailed):
        simulator.counts_by("colour")


def test_refused_calls_count_and_are_logged_with_their_code(
    simulator: Simulator, ec2: "EC2Client", account: Credentials
) -> None:
    before = simulator.calls()
    since = before[-1]["number"] if before else 0
    ec2.describe_volumes()
    with refused("InvalidVolume.NotFound"):
        ec2.create_snapshot(VolumeId="vol-0123456789abcdef0")
    simulator.faults([{"op": "ec2:DescribeTags", "kind": "drop"}])
    with pytest.raises(Exception, match="closed"):
        ec2.describe_tags()
    logged = simulator.calls(since)
    assert [(call["operation"], call["status"], call["error"]) for call in logged] == [
        ("DescribeVolumes", 200, None),
        ("CreateSnapshot", 400, "InvalidVolume.NotFound"),
        ("DescribeTags", 0, None),
    ]
    assert {(call["service"], call["account"], call["region"]) for call in logged} == {
        ("ec2", account.account, "us-east-1")
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"pending": -1},
        {"pending": "long"},
        {"fail": "vol-1"},
        {"colour": "red"},
        {"limits": {"colour": 1}},
        {"enforce_iam": 1},
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    simulator: Simulator, settings: dict[str, Any]
) -> None:
    before = simulator.config()
    with pytest.raises(SimulatorFailed):
        simulator.config(**settings)
    assert simulator.config() == before


def test_one_wrong_setting_lets_none_be_changed(simulator: Simulator) -> None:
    with pytest.raises(SimulatorFailed):
        simulator.config(fail=["vol-1"], pending="long")
    assert simulator.config()["fail"] == []


def test_an_unknown_control_names_the_known_ones(simulator: Simulator) -> None:
    with pytest.raises(SimulatorFailed, match="/_ctl/counts"):
        simulator.get("nonsense")


def test_an_estate_is_planted_with_its_tags(
    simulator: Simulator, ec2: "EC2Client", account: Credentials
) -> None:
    planted = simulator.seed(
        account=account.account,
        instances=3,
        volumes_per=2,
        standalone=4,
        tags={"Backup": "yes"},
    )
    assert (len(planted["instances"]), len(planted["standalone"])) == (3, 4)
    tagged: list[Any] = [{"Name": "tag:Backup", "Values": ["yes"]}]
    volumes = ec2.describe_volumes(Filters=tagged)["Volumes"]
    assert len(volumes) == 3 * 2 + 4
    attached = {
        volume["Attachments"][0]["InstanceId"] for volume in volumes if volume["Attachments"]
    }
    assert attached == set(planted["instances"])
    found = ec2.describe_instances(Filters=tagged)["Reservations"]
    assert sum(len(one["Instances"]) for one in found) == 3


@pytest.mark.parametrize(
    "estate", [{}, {"account": "x"}, {"account": "111122223333", "instances": -1}, {"colour": 1}]
)
def test_an_estate_that_cannot_be_is_refused(simulator: Simulator, estate: dict[str, Any]) -> None:
    with pytest.raises(SimulatorFailed):
        simulator.seed(**estate)


def test_a_large_estate_is_planted_and_listed_whole(
    simulator: Simulator, ec2: "EC2Client", account: Credentials
) -> None:
    simulator.seed(account=account.account, instances=5000, volumes_per=3)
    seen = 0
    for page in ec2.get_paginator("describe_instances").paginate(
        PaginationConfig={"PageSize": 1000}
    ):
        seen += sum(len(one["Instances"]) for one in page["Reservations"])
    assert seen == 5000
