"""Who may use the EBS direct APIs, how often, and what a rehearsal can let happen to them."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from cpm.simulator.process import Credentials, Simulator
from tests.simulator import blocks
from tests.simulator.conftest import Clients
from tests.simulator.expect import refused
from tests.simulator.resources import connect, look, make_completed, make_volume
from tests.simulator.test_ebs_direct import A, B

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_ec2 import EC2Client


def test_the_same_client_token_gives_the_same_snapshot(ebs: Any) -> None:
    first = ebs.start_snapshot(VolumeSize=1, ClientToken="t")
    assert ebs.start_snapshot(VolumeSize=1, ClientToken="t")["SnapshotId"] == first["SnapshotId"]
    with refused("ConflictException", 409):
        ebs.start_snapshot(VolumeSize=2, ClientToken="t")


@pytest.mark.parametrize(
    "wrong", [{"VolumeSize": 65_537}, {"VolumeSize": 0}, {"Timeout": 9}, {"Timeout": 4321}]
)
def test_what_cannot_be_started_is_refused(ebs: Any, wrong: dict[str, int]) -> None:
    with refused("ValidationException", 400):
        ebs.start_snapshot(**{"VolumeSize": 1, **wrong})


def test_other_accounts_read_what_is_shared_with_them_by_name(
    client: Clients,
    new_account: Any,
    ec2: "EC2Client",
    ebs: Any,
) -> None:
    stranger = new_account()
    theirs, snapshot_id = client("ebs", stranger), blocks.upload(ebs, {0: A})
    look(ec2, snapshot_id)
    with refused("AccessDeniedException", 403):
        blocks.tokens(theirs, snapshot_id)
    ec2.modify_snapshot_attribute(
        SnapshotId=snapshot_id, CreateVolumePermission={"Add": [{"Group": "all"}]}
    )
    with refused("AccessDeniedException", 403):
        blocks.tokens(theirs, snapshot_id)
    ec2.modify_snapshot_attribute(
        SnapshotId=snapshot_id,
        CreateVolumePermission={
            "Add": [{"UserId": stranger.account}],
            "Remove": [{"Group": "all"}],
        },
    )
    assert blocks.download(theirs, snapshot_id) == {0: A}
    with refused("AccessDeniedException", 403):
        theirs.start_snapshot(VolumeSize=1, ParentSnapshotId=snapshot_id)
    with refused("ResourceNotFoundException", 404):
        blocks.tokens(ebs, "snap-0123456789abcdef0")


def test_encryption_follows_the_key_and_the_parent(
    client: Clients,
    account: Credentials,
    ec2: "EC2Client",
    ebs: Any,
) -> None:
    key = client("kms", account).create_key()["KeyMetadata"]["Arn"]
    parent = blocks.upload(ebs, {0: A}, Encrypted=True, KmsKeyArn=key)
    assert look(ec2, parent)["KmsKeyId"] == key
    child = ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=parent)
    assert (child["KmsKeyArn"], child["SseType"]) == (key, "sse-kms")
    with refused("ValidationException"):
        ebs.start_snapshot(VolumeSize=1, KmsKeyArn=key)
    client("kms", account).disable_key(KeyId=key.rpartition("/")[2])
    with refused("AccessDeniedException", 403):
        blocks.tokens(ebs, parent)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [("direct_gets", "ACCOUNT_THROTTLED"), ("direct_gets_per_snapshot", "RESOURCE_LEVEL_THROTTLE")],
)
def test_too_many_calls_a_second_are_throttled(
    simulator: Simulator,
    ebs: Any,
    ec2: "EC2Client",
    limit: str,
    reason: str,
) -> None:
    snapshot_id = blocks.upload(ebs, {0: A})
    look(ec2, snapshot_id)
    token = blocks.tokens(ebs, snapshot_id)[0]
    simulator.config(limits={limit: 0.01})
    blocks.get(ebs, snapshot_id, 0, token)
    with pytest.raises(ebs.exceptions.RequestThrottledException) as caught:
        blocks.get(ebs, snapshot_id, 0, token)
    assert caught.value.response["Reason"] == reason


def test_quotas_bound_what_is_in_the_making(
    simulator: Simulator,
    ebs: Any,
) -> None:
    simulator.config(limits={"direct_pending": 1})
    ebs.start_snapshot(VolumeSize=1)
    with refused("ConcurrentLimitExceededException", 400):
        ebs.start_snapshot(VolumeSize=1)
    simulator.config(limits={"snapshots_per_region": 1})
    with refused("ServiceQuotaExceededException", 402):
        ebs.start_snapshot(VolumeSize=1)


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("throttle", "RequestThrottledException", 400),
        ("500", "InternalServerException", 500),
        ("denied", "AccessDeniedException", 403),
    ],
)
def test_faults_speak_as_the_service_does(
    simulator: Simulator,
    ebs: Any,
    kind: str,
    code: str,
    status: int,
) -> None:
    simulator.faults([{"op": "ebs:StartSnapshot", "kind": kind}])
    with refused(code, status):
        ebs.start_snapshot(VolumeSize=1)


def test_policies_decide_by_snapshot(
    simulator: Simulator,
    client: Clients,
    account: Credentials,
    ec2: "EC2Client",
    ebs: Any,
) -> None:
    one, other = blocks.upload(ebs, {0: A}), blocks.upload(ebs, {0: B})
    look(ec2, one)
    reader = user_of(client, account, "ebs:ListSnapshotBlocks", one)
    simulator.config(enforce_iam=True)
    assert list(blocks.tokens(reader, one)) == [0]
    with refused("AccessDeniedException", 403):
        blocks.tokens(reader, other)


def test_to_start_a_snapshot_with_tags_takes_the_right_to_give_them(
    simulator: Simulator, client: Clients, account: Credentials
) -> None:
    starter = user_of(client, account, "ebs:StartSnapshot")
    simulator.config(enforce_iam=True)
    assert starter.start_snapshot(VolumeSize=1)["Status"] == "pending"
    with refused("AccessDeniedException", 403):
        starter.start_snapshot(VolumeSize=1, Tags=[{"Key": "a", "Value": "b"}])


def user_of(client: Clients, account: Credentials, action: str, snapshot_id: str = "*") -> Any:
    """A user who may do one thing with some snapshots, as a client of the EBS direct APIs."""
    resource = f"arn:aws:ec2:*::snapshot/{snapshot_id}"
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    iam = client("iam", account)
    iam.create_user(UserName="somebody")
    iam.put_user_policy(
        UserName="somebody",
        PolicyName="p",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    key = iam.create_access_key(UserName="somebody")["AccessKey"]
    theirs = Credentials(account.account, key["AccessKeyId"], key["SecretAccessKey"])
    return client("ebs", theirs)


def test_patterns_fill_a_volume_and_equal_blocks_are_kept_once(
    simulator: Simulator, ec2: "EC2Client"
) -> None:
    volume_id = make_volume(ec2, 1)
    simulator.fill(
        volume_id,
        {"pattern": "random", "seed": 1, "start": 0, "count": 2},
        {"pattern": "text", "seed": 1, "start": 2, "count": 2},
        {"pattern": "repeated", "seed": 2, "start": 4, "count": 3},
        {"pattern": "zero", "start": 7, "count": 2},
    )
    digests = simulator.blocks(volume_id)
    assert sorted(digests) == list(range(9))
    assert len(set(digests.values())) == 6
    other = make_volume(ec2, 1)
    simulator.fill(other, {"pattern": "random", "seed": 1, "start": 0, "count": 2})
    assert simulator.differing(volume_id, other) == [2, 3, 4, 5, 6]


def test_blocks_and_tokens_survive_a_restart(tmp_path: "Path") -> None:
    state_file = tmp_path / "aws.state"

    with Simulator(tmp_path, state_file=state_file) as first:
        key = first.account("111122223333")
        ec2 = connect(first, "ec2", key)
        volume_id = make_volume(ec2, 1)
        first.fill(volume_id, {"pattern": "random", "seed": 3, "start": 0, "count": 3})
        snapshot_id = make_completed(ec2, volume_id)
        tokens = blocks.tokens(connect(first, "ebs", key), snapshot_id)
        first.write_blocks(volume_id, 1, A)
        kept = first.read_blocks(snapshot_id, 0, 3)
    with Simulator(tmp_path, state_file=state_file) as second:
        ebs = connect(second, "ebs", key)
        found = [blocks.get(ebs, snapshot_id, index, token) for index, token in tokens.items()]
        assert b"".join(found) == kept
        second.fill(volume_id, {"pattern": "random", "seed": 4, "start": 10, "count": 5})
        assert second.read_blocks(snapshot_id, 0, 3) == kept
        assert second.read_blocks(volume_id, 1) == A
