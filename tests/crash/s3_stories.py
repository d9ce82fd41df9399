"""Copies in S3, told like the other stories."""

import itertools

from cpm.engine import tick
from cpm.models.backups import CopyStatus
from cpm.models.s3_copies import S3Copy, S3CopyRange
from cpm.models.snapshots import SnapshotStatus
from tests.crash.stories import Story
from tests.engine.archiving import Vault, copies_of, in_ebs, s3_policy, volume, write
from tests.engine.world import World, volume_target

_seeds = itertools.count(5)


class Shelf:
    """A volume of which a repository always has the newest copy, and no other."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.vault = Vault.of(world)
        self.source = volume(world, blocks=3)
        self.policy = s3_policy(self.vault, volume_target(self.source), s3_keep_generations=1)
        self.newest = world.backup(self.policy)


class S3Story(Story):
    """What has changed of a volume is copied to S3, and the copy before goes."""

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
        (copy,), (old,) = copies_of(self.backup), copies_of(self.old)
        assert (copy.status, old.status) == (SnapshotStatus.SUCCEEDED, SnapshotStatus.DELETED)
        assert vault.manifests() == [copy.aws_ref]
        original = self.backup.snapshots.get(collection="volumes")
        assert vault.blocks(copy) == in_ebs(self.world, original.aws_ref)
        assert not S3CopyRange.objects.exists()
        there = S3Copy.objects.filter(snapshot__status=SnapshotStatus.SUCCEEDED)
        vault.row.refresh_from_db()
        assert vault.row.size_bytes == sum(there.values_list("size_bytes", flat=True))
