"""The IAM policies that the server asks for are enough for its work, and no action is idle."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from cpm.archive import writer
from cpm.archive.collector import collect
from cpm.engine import deletions, inventory, repositories
from cpm.engine.accounts import aws_of
from cpm.kernel import clock
from cpm.kernel.faults import Fault
from cpm.models.accounts import Account
from cpm.models.alerts import Alert
from cpm.models.backups import BackupOutcome, CopyStatus
from cpm.models.recoveries import RecoveryOutcome
from cpm.models.repositories import Encryption, S3Repository
from cpm.models.snapshots import SnapshotStatus
from cpm.resources import permissions
from cpm.resources.permissions import AccountType
from cpm.simulator.process import Credentials
from tests.archive.volumes import Copier, text
from tests.engine.archiving import Vault, copies_of, s3_policy, volume
from tests.engine.test_s3_recoveries import begin, done
from tests.engine.world import (
    OTHER_REGION,
    REGION,
    World,
    instance_target,
    open_account,
    recover,
    recover_instance,
    volume_target,
)

KEY = f"arn:aws:kms:{REGION}:111122223333:key/0a1b2c3d-0000-4444-8888-0a1b2c3d4e5f"


@pytest.fixture
def guarded(world: World) -> Iterator[World]:
    """An AWS that asks for rights."""
    world.simulator.config(enforce_iam=True)
    yield world
    world.simulator.config(enforce_iam=False)


def grant(
    world: World, account: Account, credentials: Credentials, *documents: dict[str, Any]
) -> None:
    """Let the server enter an account as a user that has these policies and no other."""
    iam = world.client("iam", of=credentials)
    iam.create_user(UserName="cpm")
    for number, document in enumerate(documents):
        made = iam.create_policy(PolicyName=f"cpm-{number}", PolicyDocument=json.dumps(document))
        iam.attach_user_policy(UserName="cpm", PolicyArn=made["Policy"]["Arn"])
    key = iam.create_access_key(UserName="cpm")["AccessKey"]
    account.aws_access_key = key["AccessKeyId"]
    account.sealed_secret = settings.SEALER.seal(key["SecretAccessKey"])
    account.save()


def policy_without(action: str) -> list[dict[str, Any]]:
    """The policies of a backup account, but for one action."""
    documents = permissions.documents(AccountType.BACKUP)
    for document in documents:
        for statement in document["Statement"]:
            statement["Action"] = [each for each in statement["Action"] if each != action]
        document["Statement"] = [each for each in document["Statement"] if each["Action"]]
    return documents


def test_a_backup_account_needs_no_more_for_all_that_is_done_there(guarded: World) -> None:
    world = guarded
    grant(world, world.account, world.credentials, *permissions.documents(AccountType.BACKUP))
    (instance_id,) = world.seed(instances=1, volumes_per=2)["instances"]
    policy = world.policy(
        instance_target(instance_id, backup_option="I"), volume_target(world.volume())
    )
    backup = world.backup(policy)
    assert backup.outcome == BackupOutcome.SUCCEEDED
    loose = backup.snapshots.get(collection="volumes", instance_id=None)
    target = backup.targets.get(kind="ec2_instance")
    recoveries = [recover(loose, encrypted=True, kms_key=KEY), recover_instance(target)]
    world.drain()
    for recovery in recoveries:
        recovery.refresh_from_db()
        assert (recovery.outcome, recovery.error) == (RecoveryOutcome.SUCCEEDED, "")

    world.move_to(clock.now() + timedelta(minutes=5))
    inventory.start()
    deletions.request(deletions.of_backup(backup))
    world.drain()
    statuses = backup.snapshots.values_list("status", flat=True)
    assert set(statuses) == {SnapshotStatus.DELETED}
    assert not Alert.objects.exists()


def test_an_account_for_copies_needs_no_more_for_copies_and_what_comes_of_them(
    guarded: World,
) -> None:
    world = guarded
    vault, credentials = open_account(world)
    grant(world, world.account, world.credentials, *permissions.documents(AccountType.BACKUP))
    grant(world, vault, credentials, *permissions.documents(AccountType.DR))
    (instance_id,) = world.seed(instances=1, volumes_per=1)["instances"]
    policy = world.policy(
        volume_target(world.volume()),
        instance_target(instance_id, backup_option="N"),
        dr_enabled=True,
        dr_crosses_accounts=True,
        dr_account=vault,
    )
    backup = world.backup(policy)
    assert backup.dr_status == CopyStatus.SUCCEEDED
    copies = backup.snapshots.filter(account=vault)
    assert {copy.collection for copy in copies} == {"dr_volumes", "only_dr_amis"}
    recovery = recover(copies.get(collection="dr_volumes"), encrypted=True, kms_key=KEY)
    world.drain()
    recovery.refresh_from_db()
    assert (recovery.outcome, recovery.error) == (RecoveryOutcome.SUCCEEDED, "")

    world.move_to(clock.now() + timedelta(minutes=5))
    inventory.start()
    deletions.request(deletions.of_backup(backup))
    world.drain()
    statuses = backup.snapshots.values_list("status", flat=True)
    assert set(statuses) == {SnapshotStatus.DELETED}
    assert not Alert.objects.exists()


def test_an_archive_needs_no_more_for_what_is_written_read_and_deleted(
    guarded: World, tmp_path: Path
) -> None:
    world = guarded
    grant(world, world.account, world.credentials, *permissions.documents(AccountType.BACKUP))
    bucket = f"archive-{world.credentials.account}"
    where: Any = {"LocationConstraint": OTHER_REGION}
    world.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    key = world.client("kms", OTHER_REGION).create_key()["KeyMetadata"]["Arn"]
    row = S3Repository(
        account=world.account,
        bucket_name=bucket,
        prefix="vault",
        encryption=Encryption.CLIENT_SIDE,
        kms_key=key,
    )
    row.aws_region = repositories.look(row).region
    repositories.establish(row)
    archive = repositories.open_archive(row)
    writer.retire(archive, Copier(archive).copy({0: text(0)}).name)
    collect(archive, tmp_path)
    # Keys are used for archives alone.
    with pytest.raises(Fault, match="kms:Encrypt AccessDenied"):
        aws_of(row.account, OTHER_REGION).call("kms", "Encrypt", KeyId=key, Plaintext=b"else")


def test_a_copy_in_s3_needs_no_more_to_be_made_and_to_come_back(guarded: World) -> None:
    world = guarded
    vault = Vault.of(world)
    source = volume(world)
    grant(world, world.account, world.credentials, *permissions.documents(AccountType.BACKUP))
    backup = world.backup(s3_policy(vault, volume_target(source)))
    (copy,) = copies_of(backup)
    key = world.client("kms").create_key()["KeyMetadata"]["Arn"]
    recovery = done(world, begin(world, copy, encrypted=True, kms_key=key))
    assert (recovery.outcome, recovery.error) == (RecoveryOutcome.SUCCEEDED, "")
    assert world.simulator.counts()["ebs:StartSnapshot"] == 1
    assert not Alert.objects.exists()


@pytest.mark.parametrize("action", ["ec2:CreateSnapshot", "ec2:CreateTags", "ec2:DescribeVolumes"])
def test_without_one_of_its_actions_a_backup_fails_and_says_what_was_denied(
    guarded: World, action: str
) -> None:
    world = guarded
    grant(world, world.account, world.credentials, *policy_without(action))
    backup = world.backup(world.policy(volume_target(world.volume())))
    assert backup.outcome == BackupOutcome.FAILED
    told = [event.values.get("error", "") for event in backup.events.all()]
    asked = "ec2:CreateSnapshot" if action == "ec2:CreateTags" else action
    assert any(f"{asked} UnauthorizedOperation: You are not auth" in error for error in told)


@pytest.mark.parametrize("action", ["ec2:CreateVolume", "kms:CreateGrant"])
def test_without_one_of_its_actions_a_recovery_fails_and_says_what_was_denied(
    guarded: World, action: str
) -> None:
    world = guarded
    grant(world, world.account, world.credentials, *policy_without(action))
    backup = world.backup(world.policy(volume_target(world.volume())))
    recovery = recover(backup.snapshots.get(), encrypted=True, kms_key=KEY)
    world.drain()
    recovery.refresh_from_db()
    assert recovery.outcome == RecoveryOutcome.FAILED
    assert "ec2:CreateVolume UnauthorizedOperation" in recovery.error


@pytest.mark.parametrize("account_type", AccountType)
def test_policies_are_such_as_iam_takes(account_type: AccountType) -> None:
    for document in permissions.documents(account_type):
        assert permissions.length(document) <= 6144
        assert document["Version"] == "2012-10-17"
        sids = [statement["Sid"] for statement in document["Statement"]]
        assert len(set(sids)) == len(sids)
        for statement in document["Statement"]:
            assert statement["Action"] == sorted(set(statement["Action"]))
            assert not any("*" in action for action in statement["Action"])
            if any(action == "iam:PassRole" for action in statement["Action"]):
                assert "iam:PassedToService" in statement["Condition"]["StringLike"]


def test_a_policy_that_is_too_long_becomes_several(monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = permissions.documents(AccountType.BACKUP)
    monkeypatch.setattr(permissions, "LONGEST", 2000)
    parts = permissions.documents(AccountType.BACKUP)
    assert len(parts) > 1
    assert all(permissions.length(part) <= 2000 for part in parts)
    assert [each for part in parts for each in part["Statement"]] == whole["Statement"]


def test_an_account_for_copies_may_protect_nothing(world: World) -> None:
    allowed = actions(permissions.documents(AccountType.DR))
    assert "rds:CopyDBSnapshot" in allowed
    assert "rds:RestoreDBInstanceFromDBSnapshot" in allowed
    for other in (
        *("ec2:CreateSnapshot", "ec2:CreateImage", "ec2:ModifySnapshotAttribute"),
        *("rds:CreateDBSnapshot", "rds:ModifyDBSnapshotAttribute", "tag:GetResources"),
        *("redshift:DeleteClusterSnapshot", "dynamodb:CreateBackup", "ssm:SendCommand"),
        "ssm:ListCommandInvocations",
    ):
        assert other not in allowed
    forbidding = actions(permissions.documents(AccountType.DR, may_delete=False))
    assert allowed - forbidding >= {"rds:DeleteDBSnapshot", "rds:DeleteDBClusterSnapshot"}
    assert "rds:AddTagsToResource" in forbidding


def test_roles_in_other_accounts_are_entered_by_name_alone() -> None:
    role = "arn:aws:iam::444455556666:role/backup"
    (document,) = permissions.documents(AccountType.BACKUP, roles=[role])
    (statement,) = (each for each in document["Statement"] if each["Sid"] == "AssumeRole")
    assert (statement["Action"], statement["Resource"]) == (["sts:AssumeRole"], [role])


def actions(documents: list[dict[str, Any]]) -> set[str]:
    statements = [each for document in documents for each in document["Statement"]]
    return {action for statement in statements for action in statement["Action"]}
