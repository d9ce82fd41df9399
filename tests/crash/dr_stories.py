"""Copies in another account, told like the other stories."""

import json
from typing import Any

from cpm.aws import tags
from cpm.engine import tick
from cpm.kernel import regions
from cpm.models.backups import Backup, BackupOutcome, CopyStatus
from cpm.models.snapshots import SnapshotStatus
from tests.crash.stories import Story
from tests.engine.world import OTHER_REGION, REGION, World, open_account, volume_target


class DrStory(Story):
    """A volume's snapshot is shared with another account, copied there, and shared no more."""

    is_encrypted = False

    def __init__(self, world: World) -> None:
        super().__init__(world)
        account, self.vault = open_account(world)
        if self.is_encrypted:
            self._open_a_key()
        made = world.ec2().create_volume(
            AvailabilityZone=f"{REGION}a", Size=1, Encrypted=self.is_encrypted
        )
        self.policy = world.policy(
            volume_target(made["VolumeId"]),
            dr_enabled=True,
            dr_crosses_accounts=True,
            dr_account=account,
        )
        self.backup_until_it_is_to_be_copied()

    def _open_a_key(self) -> None:
        """A key of the source that both accounts may use."""
        numbers = (self.world.credentials.account, self.vault.account)
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": [f"arn:aws:iam::{number}:root" for number in numbers]},
            "Action": "kms:*",
            "Resource": "*",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        kms = self.world.client("kms")
        key = kms.create_key(Policy=policy)["KeyMetadata"]["KeyId"]
        aliases = {each["AliasName"] for each in kms.list_aliases()["Aliases"]}
        change = kms.update_alias if "alias/cpm_share" in aliases else kms.create_alias
        change(AliasName="alias/cpm_share", TargetKeyId=key)

    def backup_until_it_is_to_be_copied(self) -> None:
        """What comes before is another story."""
        self.backup = tick.run_now(self.policy)
        while self.backup.dr_status == CopyStatus.NONE:
            self.world.step()
            self.backup.refresh_from_db()

    def ask(self) -> None:
        """It was asked for when the backup was over."""

    def check(self) -> None:
        self.backup.refresh_from_db()
        assert self.backup.dr_status == CopyStatus.SUCCEEDED
        original = self.backup.snapshots.get(collection="volumes")
        copy = self.backup.snapshots.get(collection="dr_volumes")
        (made,) = self.in_vault()
        assert made["SnapshotId"] == copy.aws_ref
        assert copy.status == SnapshotStatus.SUCCEEDED
        assert {each["SnapshotId"] for each in self.in_source()} == {original.aws_ref}
        assert self.shared() == []

    def in_vault(self) -> list[dict[str, Any]]:
        """What the other account has of this backup."""
        return self._listed(self.vault, OwnerIds=["self"])

    def in_source(self) -> list[dict[str, Any]]:
        """What the own account has of this backup, whatever it is for."""
        return self._listed(self.world.credentials, OwnerIds=["self"])

    def shared(self) -> list[dict[str, Any]]:
        """What the other account could use of the own one's."""
        ec2 = self.world.client("ec2", of=self.vault)
        found = ec2.describe_snapshots(OwnerIds=[self.world.credentials.account])["Snapshots"]
        return list(found)

    def _listed(self, credentials: Any, **of: Any) -> list[dict[str, Any]]:
        mark = {"Name": f"tag:{tags.BACKUP_ID}", "Values": [str(self.backup.pk)]}
        ec2 = self.world.client("ec2", of=credentials)
        return list(ec2.describe_snapshots(Filters=[mark], **of)["Snapshots"])


class EncryptedDrStory(DrStory):
    """AWS's own key encrypts it, so that it is first copied under another one, to be shared."""

    is_encrypted = True


class UndoneDrStory(DrStory):
    """A copy ends in error: it is removed, and the original is shared no more."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        world.simulator.config(fail=[self.backup.snapshots.get(collection="volumes").aws_ref])

    def check(self) -> None:
        self.backup.refresh_from_db()
        assert self.backup.dr_status == CopyStatus.FAILED
        copy = self.backup.snapshots.get(collection="dr_volumes")
        assert (copy.status, copy.aws_ref) == (SnapshotStatus.FAILED, "")
        assert self.in_vault() == []
        assert len(self.in_source()) == 1
        assert self.shared() == []


class MovingStory(Story):
    """A run whose snapshot is copied to another region, and is not kept beside the copy."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        region = regions.by_name(OTHER_REGION)
        assert region is not None
        self.policy = world.policy(
            volume_target(world.volume()),
            dr_enabled=True,
            dr_regions=[region.id],
            dr_keeps_originals=False,
        )

    def ask(self) -> None:
        if not self.policy.backups.exists():
            tick.run_now(self.policy)

    def check(self) -> None:
        backup: Backup = self.policy.backups.get()
        assert (backup.outcome, backup.dr_status) == (BackupOutcome.SUCCEEDED, CopyStatus.SUCCEEDED)
        of_backup = {tags.BACKUP_ID: str(backup.pk)}
        assert self.world.snapshots_in_aws(**of_backup) == []
        (made,) = self.world.snapshots_in_aws(OTHER_REGION, **of_backup)
        assert made["SnapshotId"] == backup.snapshots.get(collection="dr_volumes").aws_ref
