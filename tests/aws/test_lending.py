"""Temporary keys that open less than one's own."""

import json
from dataclasses import replace
from datetime import timedelta

import boto3
import pytest

from cpm.aws import lending
from cpm.aws.credentials import AssumedRole, InstanceRole, Keys, LentKeys, StaticKeys
from cpm.aws.sessions import Aws, Cloud
from cpm.kernel import clock
from cpm.kernel.faults import Fault, FaultKind
from cpm.simulator.process import Simulator
from tests.aws.conftest import REGION

VOLUMES_ONLY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "ec2:DescribeVolumes", "Resource": "*"}],
}
EVERYTHING = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
)


def make_role(simulator: Simulator, keys: StaticKeys, name: str, principal: str) -> str:
    """A role that may do everything and trusts `principal`; its ARN."""
    iam = boto3.client(
        "iam",
        region_name=REGION,
        endpoint_url=simulator.endpoint,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
    )
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=EVERYTHING)
    arn: str = made["Role"]["Arn"]
    return arn


def check(simulator: Simulator, aws: Aws, lent: Keys) -> None:
    """They open what they should, and nothing else, and end within the hour."""
    assert lent.expires_at is not None
    assert 3000 < (lent.expires_at - clock.now()).total_seconds() <= lending.SECONDS
    narrowed = aws.cloud.aws(LentKeys(lambda: lent), REGION)
    simulator.config(enforce_iam=True)
    try:
        narrowed.call("ec2", "DescribeVolumes")
        with pytest.raises(Fault) as denied:
            narrowed.call("ec2", "DescribeInstances")
        assert denied.value.kind is FaultKind.DENIED
    finally:
        simulator.config(enforce_iam=False)


def test_a_user_lends_less_than_his_own(simulator: Simulator, aws: Aws) -> None:
    check(simulator, aws, lending.lend(aws, "machine", VOLUMES_ONLY))


def test_an_assumed_role_is_assumed_again_with_less(
    simulator: Simulator, aws: Aws, cloud: Cloud, keys: StaticKeys
) -> None:
    number = aws.call("sts", "GetCallerIdentity")["Account"]
    role = AssumedRole(keys, make_role(simulator, keys, "cpm", number))
    check(simulator, aws, lending.lend(cloud.aws(role, REGION), "machine", VOLUMES_ONLY))


def test_the_machines_own_role_assumes_itself_if_it_trusts_itself(
    simulator: Simulator, aws: Aws, keys: StaticKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = aws.call("sts", "GetCallerIdentity")["Account"]
    own = make_role(simulator, keys, "own", number)
    session = aws.call("sts", "AssumeRole", RoleArn=own, RoleSessionName="i-0123")["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", session["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", session["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", session["SessionToken"])
    of_machine = aws.cloud.aws(InstanceRole(), REGION)
    check(simulator, aws, lending.lend(of_machine, "machine", VOLUMES_ONLY))


def test_what_is_lent_is_asked_for_anew_before_it_ends(aws: Aws) -> None:
    asked: list[Keys] = []

    def lend() -> Keys:
        ends_soon = clock.now() + timedelta(minutes=4)
        lent = lending.lend(aws, "machine", VOLUMES_ONLY)
        asked.append(replace(lent, expires_at=ends_soon) if not asked else lent)
        return asked[-1]

    lent = aws.cloud.aws(LentKeys(lend), REGION)
    for _ in range(3):
        lent.call("ec2", "DescribeVolumes")
    assert len(asked) == 2


def test_what_is_lent_is_not_lent_on(aws: Aws) -> None:
    lent = aws.cloud.aws(LentKeys(lambda: lending.lend(aws, "machine", VOLUMES_ONLY)), REGION)
    with pytest.raises(Fault, match="cannot be lent on"):
        lending.lend(lent, "machine", VOLUMES_ONLY)
