"""Encrypted EBS snapshots cross accounts only when the key's policy or a grant allows it."""

import json
from typing import Any

import pytest

from cpm.simulator.process import Credentials
from tests.simulator.conftest import Clients
from tests.simulator.databases import make_key
from tests.simulator.expect import refused
from tests.simulator.resources import look, make_completed, make_volume


@pytest.fixture
def theirs(client: Clients, other: Credentials) -> Any:
    """EC2 as the other account sees it."""
    return client("ec2", other)


def share_encrypted(ec2: Any, key: str, other: Credentials) -> str:
    """A completed snapshot that `key` encrypts, shared with the other account; its id."""
    snapshot_id = make_completed(ec2, make_volume(ec2, Encrypted=True, KmsKeyId=key))
    ec2.modify_snapshot_attribute(
        SnapshotId=snapshot_id,
        Attribute="createVolumePermission",
        OperationType="add",
        UserIds=[other.account],
    )
    return snapshot_id


def copy(theirs: Any, snapshot_id: str, **more: Any) -> Any:
    """A copy in the other account, as it is seen right after."""
    made = theirs.copy_snapshot(
        SourceRegion="us-east-1", SourceSnapshotId=snapshot_id, Encrypted=True, **more
    )
    return look(theirs, made["SnapshotId"])


def policy(*accounts: str) -> str:
    """A key policy that lets these accounts use the key."""
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": [f"arn:aws:iam::{account}:root" for account in accounts]},
        "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:CreateGrant", "kms:ReEncrypt*"],
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_a_copy_fails_later_when_the_key_is_closed_to_the_other_account(
    ec2: Any, theirs: Any, kms: Any, other: Credentials
) -> None:
    shown = copy(theirs, share_encrypted(ec2, make_key(kms), other))
    assert shown["State"] == "error"
    assert shown["StateMessage"] == "Given key ID is not accessible"


def test_a_key_policy_opens_the_key(
    ec2: Any, theirs: Any, kms: Any, account: Credentials, other: Credentials
) -> None:
    key = make_key(kms, policy(account.account, other.account))
    assert copy(theirs, share_encrypted(ec2, key, other))["State"] == "completed"


def test_a_grant_opens_the_key_until_it_is_revoked(
    ec2: Any, theirs: Any, kms: Any, other: Credentials
) -> None:
    key = make_key(kms)
    snapshot_id = share_encrypted(ec2, key, other)
    grant = kms.create_grant(
        KeyId=key,
        GranteePrincipal=f"arn:aws:iam::{other.account}:root",
        Operations=["Decrypt", "DescribeKey", "CreateGrant"],
    )
    assert copy(theirs, snapshot_id)["State"] == "completed"
    kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    assert copy(theirs, snapshot_id)["State"] == "error"


def test_a_copy_is_encrypted_with_the_key_of_who_copies(
    client: Clients, ec2: Any, theirs: Any, kms: Any, account: Credentials, other: Credentials
) -> None:
    key = make_key(kms, policy(account.account, other.account))
    own_key = make_key(client("kms", other))
    shown = copy(theirs, share_encrypted(ec2, key, other), KmsKeyId=own_key)
    assert (shown["State"], shown["KmsKeyId"]) == ("completed", own_key)


def test_a_copy_with_a_disabled_key_fails_later(ec2: Any, kms: Any, account: Credentials) -> None:
    key = make_key(kms)
    snapshot_id = make_completed(ec2, make_volume(ec2, Encrypted=True, KmsKeyId=key))
    kms.disable_key(KeyId=key.rsplit("/", 1)[-1])
    assert copy(ec2, snapshot_id)["State"] == "error"


def test_what_the_default_key_encrypts_is_never_shared(ec2: Any, other: Credentials) -> None:
    snapshot_id = make_completed(ec2, make_volume(ec2, Encrypted=True))
    with refused("OperationNotPermitted"):
        ec2.modify_snapshot_attribute(
            SnapshotId=snapshot_id,
            Attribute="createVolumePermission",
            OperationType="add",
            UserIds=[other.account],
        )


def test_only_a_key_that_is_a_pair_has_a_public_one(kms: Any) -> None:
    pair = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    assert kms.get_public_key(KeyId=pair)["PublicKey"]
    with refused("UnsupportedOperationException", 400):
        kms.get_public_key(KeyId=make_key(kms))
