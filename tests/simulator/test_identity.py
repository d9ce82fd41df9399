"""Who may call, and as whom."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cpm.simulator.process import Credentials, Simulator
from tests.simulator.conftest import Clients, Later
from tests.simulator.expect import refused

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_sts import STSClient

NewAccount = Callable[[], Credentials]


def make_role(
    client: Clients, owner: Credentials, principal: str, external_id: str | None = None, **more: Any
) -> str:
    """A role of `owner` that trusts `principal`; its ARN."""
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"AWS": principal},
        "Action": "sts:AssumeRole",
    }
    if external_id is not None:
        statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made = client("iam", owner).create_role(
        RoleName=more.pop("name", "backup"), AssumeRolePolicyDocument=document, **more
    )
    arn: str = made["Role"]["Arn"]
    return arn


def session_of(answer: Any) -> tuple[Credentials, str]:
    """The temporary key and the token in AssumeRole's answer."""
    given = answer["Credentials"]
    return Credentials("", given["AccessKeyId"], given["SecretAccessKey"]), given["SessionToken"]


def test_a_key_is_attributed_to_its_account(client: Clients, new_account: NewAccount) -> None:
    for key in (new_account(), new_account()):
        seen = client("sts", key).get_caller_identity()
        assert seen["Account"] == key.account
        assert seen["Arn"] == f"arn:aws:iam::{key.account}:user/admin"


def test_an_account_may_be_given_a_fixed_key(simulator: Simulator, client: Clients) -> None:
    key = simulator.account("299999999999", "AKIAFIXEDFIXEDFIXED1", "a secret of our choice")
    assert key.access_key_id == "AKIAFIXEDFIXEDFIXED1"
    assert client("sts", key).get_caller_identity()["Account"] == "299999999999"


def test_an_unknown_key_is_refused_in_each_services_words(client: Clients) -> None:
    stranger = Credentials("", "AKIAAAAAAAAAAAAAAAAA", "secret")
    with refused("InvalidClientTokenId", 403):
        client("sts", stranger).get_caller_identity()
    with refused("AuthFailure", 401):
        client("ec2", stranger).describe_volumes()
    with refused("UnrecognizedClientException", 400):
        client("dynamodb", stranger).list_tables()
    with refused("InvalidAccessKeyId", 403):
        client("s3", stranger).list_buckets()


def test_a_wrong_secret_is_refused_in_each_services_words(
    client: Clients, account: Credentials
) -> None:
    wrong = Credentials(account.account, account.access_key_id, "not the secret")
    with refused("SignatureDoesNotMatch", 403):
        client("sts", wrong).get_caller_identity()
    with refused("AuthFailure", 401):
        client("ec2", wrong).describe_volumes()
    with refused("SignatureDoesNotMatch", 403):
        client("s3", wrong).list_buckets()


def test_a_revoked_key_fails_like_a_deactivated_one(
    simulator: Simulator, client: Clients, account: Credentials
) -> None:
    simulator.config(revoked=[account.access_key_id])
    with refused("InvalidClientTokenId", 403):
        client("sts", account).get_caller_identity()
    with refused("AuthFailure", 401):
        client("ec2", account).describe_volumes()
    simulator.config(revoked=[])
    client("ec2", account).describe_volumes()


def test_keys_that_iam_made_work_until_iam_deactivates_them(
    client: Clients, account: Credentials
) -> None:
    iam = client("iam", account)
    iam.create_user(UserName="operator")
    made = iam.create_access_key(UserName="operator")["AccessKey"]
    key = Credentials(account.account, made["AccessKeyId"], made["SecretAccessKey"])
    assert client("sts", key).get_caller_identity()["Arn"].endswith(":user/operator")
    iam.update_access_key(UserName="operator", AccessKeyId=key.access_key_id, Status="Inactive")
    with refused("InvalidClientTokenId", 403):
        client("sts", key).get_caller_identity()


def test_objects_go_through_to_s3_whole_and_in_parts(client: Clients, account: Credentials) -> None:
    s3 = client("s3", account)
    s3.create_bucket(Bucket="passed-through")
    target: dict[str, Any] = {"Bucket": "passed-through", "Key": "big"}
    upload = s3.create_multipart_upload(**target)["UploadId"]
    parts = [b"a" * (5 << 20), b"b"]
    etags = [
        s3.upload_part(**target, UploadId=upload, PartNumber=number, Body=part)["ETag"]
        for number, part in enumerate(parts, start=1)
    ]
    listed = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]
    s3.complete_multipart_upload(**target, UploadId=upload, MultipartUpload={"Parts": listed})
    assert s3.head_object(**target)["ContentLength"] == (5 << 20) + 1
    assert s3.get_object(**target, Range="bytes=5242879-5242880")["Body"].read() == b"ab"
    with refused("404", 404):
        s3.head_object(Bucket="passed-through", Key="missing")
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket="passed-through", Key="missing")


def test_signed_objects_in_s3_arrive_whatever_their_keys_are_called(
    client: Clients, account: Credentials
) -> None:
    s3 = client("s3", account)
    s3.create_bucket(Bucket="signed-keys")
    for key in ("plain", "with space/ä+b", "a%2Fb", "x//y"):
        s3.put_object(Bucket="signed-keys", Key=key, Body=key.encode())
        assert s3.get_object(Bucket="signed-keys", Key=key)["Body"].read() == key.encode()


def test_a_role_is_assumed_only_with_its_external_id(
    client: Clients, sts: "STSClient", account: Credentials, new_account: NewAccount
) -> None:
    customer = new_account()
    role = make_role(client, customer, f"arn:aws:iam::{account.account}:root", "the-id")
    with refused("AccessDenied", 403) as seen:
        sts.assume_role(RoleArn=role, RoleSessionName="xx")
    assert f"is not authorized to perform: sts:AssumeRole on resource: {role}" in seen.message
    with refused("AccessDenied", 403):
        sts.assume_role(RoleArn=role, RoleSessionName="xx", ExternalId="another")
    key, token = session_of(
        sts.assume_role(RoleArn=role, RoleSessionName="nightly", ExternalId="the-id")
    )
    seen_identity = client("sts", key, token=token).get_caller_identity()
    assert seen_identity["Account"] == customer.account
    assert seen_identity["Arn"] == (f"arn:aws:sts::{customer.account}:assumed-role/backup/nightly")


def test_a_role_that_does_not_exist_cannot_be_assumed(
    sts: "STSClient", new_account: NewAccount
) -> None:
    arn = f"arn:aws:iam::{new_account().account}:role/nowhere"
    with refused("AccessDenied", 403):
        sts.assume_role(RoleArn=arn, RoleSessionName="xx")


def test_a_role_that_trusts_another_account_cannot_be_assumed(
    client: Clients, sts: "STSClient", new_account: NewAccount
) -> None:
    role = make_role(client, new_account(), "arn:aws:iam::999999999999:root")
    with refused("AccessDenied", 403):
        sts.assume_role(RoleArn=role, RoleSessionName="xx")


def test_an_assumed_role_assumes_another_for_an_hour_at_most(
    client: Clients, sts: "STSClient", account: Credentials, new_account: NewAccount
) -> None:
    customer = new_account()
    hop = make_role(client, account, account.account, MaxSessionDuration=43200)
    target = make_role(client, customer, hop, MaxSessionDuration=43200)
    key, token = session_of(sts.assume_role(RoleArn=hop, RoleSessionName="hop"))
    chained = client("sts", key, token=token)
    with refused("ValidationError"):
        chained.assume_role(RoleArn=target, RoleSessionName="xx", DurationSeconds=3601)
    key, token = session_of(chained.assume_role(RoleArn=target, RoleSessionName="end"))
    arn = client("sts", key, token=token).get_caller_identity()["Arn"]
    assert arn == f"arn:aws:sts::{customer.account}:assumed-role/backup/end"
    with refused("AccessDenied"):
        sts.assume_role(RoleArn=target, RoleSessionName="directly")


@pytest.mark.parametrize("seconds", [899, 43201, 7200])
def test_a_session_keeps_to_the_bounds_of_aws_and_of_its_role(
    client: Clients, sts: "STSClient", account: Credentials, seconds: int
) -> None:
    role = make_role(client, account, account.account, MaxSessionDuration=3600)
    with refused("ValidationError"):
        sts.assume_role(RoleArn=role, RoleSessionName="xx", DurationSeconds=seconds)


def test_the_answer_says_when_the_session_ends(
    client: Clients, sts: "STSClient", account: Credentials
) -> None:
    role = make_role(client, account, account.account)
    ends = [
        sts.assume_role(RoleArn=role, RoleSessionName="xx", DurationSeconds=seconds)["Credentials"][
            "Expiration"
        ]
        for seconds in (900, 3600)
    ]
    assert ends[1] - ends[0] >= timedelta(seconds=2700)


def test_a_session_without_its_token_is_nobody(
    client: Clients, sts: "STSClient", account: Credentials
) -> None:
    role = make_role(client, account, account.account)
    key, _ = session_of(sts.assume_role(RoleArn=role, RoleSessionName="xx"))
    with refused("InvalidClientTokenId", 403):
        client("sts", key).get_caller_identity()


def test_a_session_ends_when_its_time_is_over(
    client: Clients, sts: "STSClient", account: Credentials, later: Later
) -> None:
    role = make_role(client, account, account.account)
    key, token = session_of(sts.assume_role(RoleArn=role, RoleSessionName="xx"))
    client("sts", key, token=token).get_caller_identity()
    later(3600)
    with refused("ExpiredToken", 403):
        client("sts", key, token=token).get_caller_identity()
    with refused("RequestExpired", 400):
        client("ec2", key, token=token).describe_volumes()
    with refused("ExpiredTokenException", 400):
        client("dynamodb", key, token=token).list_tables()


def test_policies_count_when_enforcement_is_on(
    simulator: Simulator, client: Clients, account: Credentials, sts: "STSClient"
) -> None:
    role = make_role(client, account, account.account)
    client("iam", account).put_role_policy(
        RoleName="backup",
        PolicyName="read",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}],
            }
        ),
    )
    key, token = session_of(sts.assume_role(RoleArn=role, RoleSessionName="xx"))
    ec2: EC2Client = client("ec2", key, token=token)
    simulator.config(enforce_iam=True)
    ec2.describe_volumes()
    with refused("UnauthorizedOperation", 403):
        ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)
    with refused("AccessDenied", 403):
        client("rds", key, token=token).describe_db_instances()
    client("ec2", account).create_volume(AvailabilityZone="us-east-1a", Size=1)
