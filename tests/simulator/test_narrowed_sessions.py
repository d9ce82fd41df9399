"""Sessions may be narrowed to less than what their owner may do."""

import json
from typing import TYPE_CHECKING, Any

from cpm.simulator.process import Credentials, Simulator
from tests.simulator.conftest import Clients
from tests.simulator.expect import refused
from tests.simulator.resources import BASE_IMAGE, look, make_completed, run_instance
from tests.simulator.test_identity import make_role, session_of

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_sts import STSClient

_LINUX = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-"


def policy(*statements: tuple[str, str]) -> str:
    """A policy that allows each action on its resource."""
    allowed = [
        {"Effect": "Allow", "Action": action, "Resource": resource}
        for action, resource in statements
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": allowed})


def test_a_federated_user_may_do_what_its_user_and_its_policy_allow(
    simulator: Simulator, client: Clients, account: Credentials, sts: "STSClient"
) -> None:
    s3 = client("s3", account)
    s3.create_bucket(Bucket="narrowed")
    for name in ("mine/a", "theirs/a"):
        s3.put_object(Bucket="narrowed", Key=name, Body=b"content")
    allowed = policy(("s3:GetObject", "arn:aws:s3:::narrowed/mine/*"))
    answer = sts.get_federation_token(Name="machine", Policy=allowed, DurationSeconds=900)
    assert answer["FederatedUser"]["Arn"] == (
        f"arn:aws:sts::{account.account}:federated-user/machine"
    )
    key, token = session_of(answer)
    simulator.config(enforce_iam=True)
    narrowed = client("s3", key, token=token)
    assert narrowed.get_object(Bucket="narrowed", Key="mine/a")["Body"].read() == b"content"
    with refused("AccessDenied", 403):
        narrowed.get_object(Bucket="narrowed", Key="theirs/a")
    with refused("AccessDenied", 403):
        narrowed.put_object(Bucket="narrowed", Key="mine/a", Body=b"other")
    with refused("UnauthorizedOperation", 403):
        client("ec2", key, token=token).describe_volumes()


def test_a_role_is_assumed_with_less_than_it_may_do(
    simulator: Simulator,
    client: Clients,
    account: Credentials,
    sts: "STSClient",
    ec2: "EC2Client",
) -> None:
    role = make_role(client, account, account.account)
    everything = policy(("*", "*"))
    client("iam", account).put_role_policy(
        RoleName="backup", PolicyName="all", PolicyDocument=everything
    )
    mine, other = make_completed(ec2), make_completed(ec2)
    narrowed = policy(("ebs:ListSnapshotBlocks", f"arn:aws:ec2:us-east-1::snapshot/{mine}"))
    key, token = session_of(
        sts.assume_role(RoleArn=role, RoleSessionName="machine", Policy=narrowed)
    )
    simulator.config(enforce_iam=True)
    ebs = client("ebs", key, token=token)
    ebs.list_snapshot_blocks(SnapshotId=mine)
    with refused("AccessDeniedException", 403):
        ebs.list_snapshot_blocks(SnapshotId=other)


def test_a_session_cannot_vouch_for_anybody(
    client: Clients, account: Credentials, sts: "STSClient"
) -> None:
    role = make_role(client, account, account.account)
    key, token = session_of(sts.assume_role(RoleArn=role, RoleSessionName="xx"))
    with refused("AccessDenied", 403):
        client("sts", key, token=token).get_federation_token(Name="machine")


def test_amazons_newest_images_can_be_started(
    client: Clients, account: Credentials, ec2: "EC2Client"
) -> None:
    ssm = client("ssm", account)

    def image(architecture: str) -> Any:
        return ssm.get_parameter(Name=_LINUX + architecture)["Parameter"]["Value"]

    assert image("x86_64") == BASE_IMAGE
    started = run_instance(ec2, ImageId=image("arm64"), InstanceType="t4g.micro")
    assert look(ec2, started["InstanceId"])["Architecture"] == "arm64"
    with refused("ParameterNotFound"):
        ssm.get_parameter(Name="/nobody/knows/it")
    ssm.put_parameter(Name="mine", Value="7", Type="String")
    assert ssm.get_parameter(Name="mine")["Parameter"]["Value"] == "7"
