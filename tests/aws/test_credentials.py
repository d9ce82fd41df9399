"""How the server becomes somebody: keys, the machine's role, roles of other accounts."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from cpm.aws.bounded import Bounded
from cpm.aws.credentials import AssumedRole, InstanceRole, StaticKeys, role_arn
from cpm.aws.sessions import Cloud, identify
from cpm.kernel import clock
from cpm.kernel.faults import FaultKind
from cpm.simulator.process import Simulator
from cpm.testing.stage import fault_of
from tests.aws.conftest import REGION

OTHER = "444455556666"
Roles = Callable[..., AssumedRole]


@pytest.fixture
def role(simulator: Simulator, cloud: Cloud, keys: StaticKeys) -> Roles:
    """Makes roles in another account that trust the one of `keys`."""
    trusted = identify(cloud.aws(keys, REGION))
    opened = simulator.account(OTHER)
    hand = cloud.aws(StaticKeys(opened.access_key_id, opened.secret_access_key), REGION)

    def make(external_id: str | None = None) -> AssumedRole:
        name = f"cpm-{trusted}-{external_id}"
        statement = {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"AWS": f"arn:aws:iam::{trusted}:root"},
        }
        if external_id:
            statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        hand.call("iam", "CreateRole", RoleName=name, AssumeRolePolicyDocument=policy)
        simulator.reset_counts()
        return AssumedRole(keys, role_arn("aws", OTHER, name), external_id)

    return make


@pytest.fixture
def ahead(clock_file: Path) -> Iterator[Callable[[int], None]]:
    """Lets the simulator's clock run ahead of ours by so many seconds."""

    def move(seconds: int) -> None:
        clock_file.write_text(str(seconds))

    yield move
    clock_file.unlink(missing_ok=True)


def test_a_role_of_another_account_is_assumed_with_its_external_id(
    cloud: Cloud, role: Roles
) -> None:
    assert identify(cloud.aws(role("a-secret"), REGION)) == OTHER
    assert identify(cloud.aws(role(), REGION)) == OTHER


def test_a_wrong_external_id_is_denied_by_the_name_of_the_call(cloud: Cloud, role: Roles) -> None:
    right = role("right")
    wrong = AssumedRole(right.base, right.role_arn, "wrong")
    fault = fault_of(lambda: cloud.aws(wrong, REGION).call("ec2", "DescribeVolumes"))
    assert fault.kind is FaultKind.DENIED
    assert fault.operation == "sts:AssumeRole"
    assert fault.code == "AccessDenied"


def test_a_role_is_assumed_once_for_all_calls_and_regions(
    cloud: Cloud, role: Roles, simulator: Simulator
) -> None:
    aws = cloud.aws(role(), REGION)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: aws.call("ec2", "DescribeVolumes"), range(24)))
    aws.at("us-east-1").call("ec2", "DescribeVolumes")
    assert simulator.counts() == {"sts:AssumeRole": 1, "ec2:DescribeVolumes": 25}


def test_each_call_is_signed_by_the_keys_of_whoever_makes_it(
    cloud: Cloud, simulator: Simulator
) -> None:
    opened = [simulator.account(f"5555000000{number}") for number in range(10, 18)]
    each = [
        cloud.aws(StaticKeys(one.access_key_id, one.secret_access_key), REGION) for one in opened
    ]
    with ThreadPoolExecutor(len(each)) as threads:
        found = list(threads.map(identify, each * 4))
    assert found == [one.account for one in opened] * 4


def test_temporary_keys_are_replaced_shortly_before_they_end(
    cloud: Cloud, role: Roles, simulator: Simulator
) -> None:
    aws = cloud.aws(role(), REGION)
    aws.call("ec2", "DescribeVolumes")
    try:
        clock.set_offset(timedelta(minutes=54))
        aws.call("ec2", "DescribeVolumes")
        assert simulator.counts()["sts:AssumeRole"] == 1
        clock.set_offset(timedelta(minutes=56))
        aws.call("ec2", "DescribeVolumes")
        assert simulator.counts()["sts:AssumeRole"] == 2
    finally:
        clock.set_offset(timedelta())


def test_keys_that_aws_takes_for_expired_are_replaced_at_once(
    cloud: Cloud, role: Roles, simulator: Simulator, ahead: Callable[[int], None]
) -> None:
    aws = cloud.aws(role(), REGION)
    first = aws.call("ec2", "CreateVolume", AvailabilityZone=f"{REGION}a", Size=1)["VolumeId"]
    ahead(7200)
    second = aws.call("ec2", "CreateVolume", AvailabilityZone=f"{REGION}a", Size=1)["VolumeId"]
    listed = {volume["VolumeId"] for volume in aws.call("ec2", "DescribeVolumes")["Volumes"]}
    assert {first, second} <= listed
    assert simulator.counts()["sts:AssumeRole"] == 2


def test_new_keys_are_asked_for_once_and_not_again_and_again(
    cloud: Cloud, role: Roles, simulator: Simulator
) -> None:
    aws = cloud.aws(role(), REGION)
    simulator.faults([{"op": "ec2:DeleteVolume", "kind": "denied", "code": "ExpiredToken"}])
    fault = fault_of(lambda: aws.call("ec2", "DeleteVolume", VolumeId="vol-0123456789abcdef0"))
    assert (fault.kind, fault.code) == (FaultKind.DENIED, "ExpiredToken")
    assert simulator.counts() == {"sts:AssumeRole": 2, "ec2:DeleteVolume": 2}


def test_keys_that_last_are_not_asked_for_again(
    cloud: Cloud, keys: StaticKeys, simulator: Simulator
) -> None:
    aws = cloud.aws(keys, REGION)
    simulator.faults([{"op": "ec2:DeleteVolume", "kind": "denied", "code": "RequestExpired"}])
    fault_of(lambda: aws.call("ec2", "DeleteVolume", VolumeId="vol-0123456789abcdef0"))
    assert simulator.counts() == {"ec2:DeleteVolume": 1}


@pytest.mark.parametrize(
    ("region", "asked"),
    [("eu-west-1", "eu-west-1"), ("af-south-1", "us-east-1"), ("cn-north-1", "cn-north-1")],
)
def test_roles_are_assumed_near_the_calls_where_every_account_may(
    cloud: Cloud, role: Roles, simulator: Simulator, region: str, asked: str
) -> None:
    cloud.keys(role(), region)
    (row,) = simulator.counts_by("region")
    assert (row["op"], row["region"]) == ("sts:AssumeRole", asked)


def test_the_machines_own_role_is_found_by_the_sdk(
    cloud: Cloud, keys: StaticKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_access_key)
    assert identify(cloud.aws(InstanceRole(), REGION)) == identify(cloud.aws(keys, REGION))


def test_a_machine_without_a_role_is_denied(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    fault = fault_of(lambda: identify(cloud.aws(InstanceRole(), REGION)))
    assert fault.kind is FaultKind.DENIED


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_a_roles_arn_is_of_the_regions_partition(cloud: Cloud, region: str, partition: str) -> None:
    aws = cloud.aws(InstanceRole(), region)
    assert role_arn(aws.partition, "1", "a/b") == f"arn:{partition}:iam::1:role/a/b"


def test_what_is_kept_is_bounded_and_the_longest_unused_goes_first() -> None:
    made: list[int] = []
    kept: Bounded[int, None] = Bounded(2)
    for key in (1, 2, 1, 3, 1, 2):
        kept.get(key, partial(made.append, key))
    assert made == [1, 2, 3, 2]
    assert len(kept) == 2
