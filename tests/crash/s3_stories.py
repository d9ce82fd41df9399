"""Copies in S3, told like the other stories."""

import itertools
from typing import Any, Self

from cpm.engine import tick
from cpm.models.backups import Backup, CopyStatus
from cpm.models.repositories import Encryption
from cpm.models.s3_copies import S3Copy, S3CopyRange
from cpm.models.snapshots import SnapshotStatus
from tests.crash.stories import Story
from tests.engine.archiving import Vault, copies_of, in_ebs, s3_policy, volume, write
from tests.engine.world import World, log_of, volume_target

_seeds = itertools.count(5)


class Shelf:
    """A volume of which a repository always has the newest copy, and no other."""

    def __init__(self, world: World, **columns: Any) -> None:
        self.world = world
        self.vault = Vault.of(world, **columns)
        self.source = volume(world, blocks=3)
        self.policy = s3_policy(self.vault, volume_target(self.source), s3_keep_generations=1)
        self.newest: Backup | None = None

    @classmethod
    def with_copy(cls, world: World) -> Self:
        """One that has been used."""
        shelf = cls(world)
        shelf.newest = world.backup(shelf.policy)
        return shelf

    @classmethod
    def sealed(cls, world: World) -> Self:
        """One that is to be encrypted before it is sent, and has not been used."""
        key = world.client("kms").create_key()["KeyMetadata"]["Arn"]
        return cls(world, encryption=Encryption.CLIENT_SIDE, kms_key=key)


class S3Story(Story):
    """What has changed of a volume is copied to S3, and the copy before, if there is one, goes."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(shelf.world)
        self.shelf, self.old = shelf, shelf.newest
        write(self.world, shelf.source, start=1, count=1, seed=next(_seeds))
        self.backup_until_it_is_to_be_copied()
        shelf.newest = self.backup

    def backup_until_it_is_to_be_copied(self) -> None:
        """What comes before is another story."""
        self.backup = tick.run_now(self.shelf.policy)
        while self.backup.s3_status == CopyStatus.NONE:
            self.world.step()
            self.backup.refresh_from_db()

    def ask(self) -> None:
        """It was asked for when the backup was over."""

    def check(self) -> None:
        vault = self.shelf.vault
        self.backup.refresh_from_db()
        assert self.backup.s3_status == CopyStatus.SUCCEEDED
        (copy,) = copies_of(self.backup)
        assert copy.status == SnapshotStatus.SUCCEEDED
        for old in copies_of(self.old) if self.old else ():
            assert old.status == SnapshotStatus.DELETED
        assert vault.manifests() == [copy.aws_ref]
        original = self.backup.snapshots.get(collection="volumes")
        assert vault.blocks(copy) == in_ebs(self.world, original.aws_ref)
        assert not S3CopyRange.objects.exists()
        there = S3Copy.objects.filter(
            repository=vault.row, snapshot__status=SnapshotStatus.SUCCEEDED
        )
        vault.row.refresh_from_db()
        assert vault.row.size_bytes == sum(there.values_list("size_bytes", flat=True))


class LineageStory(S3Story):
    """What a copy was to be compared with is gone from AWS, so that everything is read."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(shelf)
        assert self.old is not None
        before = self.old.snapshots.get(collection="volumes")
        self.world.ec2().delete_snapshot(SnapshotId=before.aws_ref)

    def check(self) -> None:
        super().check()
        assert "s3_reads_all" in log_of(self.backup)
