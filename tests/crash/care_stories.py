"""Archives are looked after and found again, told like the other stories."""

import itertools
from datetime import timedelta
from typing import Any

from cpm.archive import collector, manifests, packs, writer
from cpm.archive.repository import Repository
from cpm.engine import repositories
from cpm.kernel import clock
from cpm.models.alerts import Alert
from cpm.models.backups import Backup
from cpm.models.policies import Policy
from cpm.models.repositories import ArchiveDamage, S3Repository
from cpm.models.s3_copies import S3Copy
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.queries import people
from cpm.services.rebuilding import rebuild
from tests.archive.volumes import Copier, came_back, noise, subject, text
from tests.crash.stories import Story
from tests.engine.archiving import Vault, s3_policy, volume, write
from tests.engine.world import REGION, World, volume_target

_FAR = timedelta(days=1000)
_seeds = itertools.count(100)


class Yard:
    """A repository with a copy, and one that goes on from it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.vault = Vault.of(world, aws_region=REGION)
        repositories.establish(self.vault.row)
        copier = self.copier()
        first = copier.copy({0: noise(0), 1: text(1)})
        second = copier.copy({1: text(2)}, based_on=first)
        self.kept = [(first, {0: noise(0), 1: text(1)}), (second, {0: noise(0), 1: text(2)})]
        self.packs = self.listed(packs.PREFIX)

    @property
    def archive(self) -> Repository:
        """The archive, as a reader has it."""
        return self.vault.opened()

    def copier(self) -> Copier:
        """What makes a pack of each block."""
        return Copier(self.archive, pack_bytes=1)

    def listed(self, prefix: str) -> set[str]:
        """The names of its objects."""
        return {stored.name for stored in self.archive.store.list(prefix)}

    def set_due(self, **columns: Any) -> None:
        """Nothing has been done to it, and nothing is due but this."""
        ArchiveDamage.objects.all().delete()
        Alert.objects.all().delete()
        far = clock.now() + _FAR
        reset = {"round_started_at": None, "round_done": 0, "last_verified_at": None}
        due = {"collect_due_at": far, "verify_due_at": far, **columns}
        S3Repository.objects.filter(pk=self.vault.row.pk).update(**reset, **due)


class CareStory(Story):
    """Something is done to a repository that comes round."""

    def __init__(self, yard: Yard) -> None:
        super().__init__(yard.world)
        self.yard = yard

    def ask(self) -> None:
        """It is due."""

    @property
    def row(self) -> S3Repository:
        """The repository as it is now."""
        return S3Repository.objects.get(pk=self.yard.vault.row.pk)

    def check_kept(self) -> None:
        """Every copy has all its blocks."""
        for manifest, blocks in self.yard.kept:
            assert came_back(self.yard.archive, manifest) == blocks


class GarbageStory(CareStory):
    """What no copy needs is deleted: what nobody has published, and what was retired long ago."""

    def __init__(self, yard: Yard) -> None:
        super().__init__(yard)
        gone = yard.copier().copy({3: noise(next(_seeds))}, subject(f"snap-{next(_seeds)}"))
        writer.retire(yard.archive, gone.name)
        yard.copier().write({4: noise(next(_seeds))})
        self.world.move_to(clock.now() + collector.GRACE)
        before = yard.listed(packs.PREFIX)
        # Somebody is copying just now.
        yard.copier().write({5: noise(next(_seeds))})
        self.young = yard.listed(packs.PREFIX) - before
        yard.set_due(collect_due_at=clock.now())

    def check(self) -> None:
        assert self.yard.listed(packs.PREFIX) == self.yard.packs | self.young
        assert self.yard.listed(manifests.RETIRED) == set()
        self.check_kept()
        row = self.row
        store = self.yard.archive.store
        stored = [*store.list(packs.PREFIX), *store.list(manifests.PREFIX)]
        assert row.stored_bytes == sum(each.size for each in stored)
        assert row.collect_due_at is not None
        assert row.collect_due_at > clock.now()
        assert not ArchiveDamage.objects.exists()
        assert not Alert.objects.exists()


class VerificationStory(CareStory):
    """Everything is read again, in some portions."""

    def __init__(self, yard: Yard) -> None:
        super().__init__(yard)
        self.began_at = clock.now()
        yard.set_due(verify_due_at=self.began_at)

    def ask(self) -> None:
        while (due_at := self.row.verify_due_at) is not None:
            if self.row.round_started_at is None and due_at > self.began_at:
                return
            self.world.move_to(due_at)
            self.world.work()

    def check(self) -> None:
        row = self.row
        assert row.round_done == row.round_portions > 1
        assert row.last_verified_at is not None
        assert row.verify_due_at is not None
        window = row.verify_due_at - self.began_at
        last_began_at = self.began_at + window * (row.round_portions - 1) / row.round_portions
        assert row.last_verified_at >= last_began_at
        assert not ArchiveDamage.objects.exists()
        assert not Alert.objects.exists()


class DamageStory(VerificationStory):
    """Of what is read again something is damaged: each time another pack."""

    def __init__(self, yard: Yard) -> None:
        super().__init__(yard)
        names = sorted(yard.packs)
        self.name = names[next(_seeds) % len(names)]
        self.content = yard.archive.store.read(self.name)
        yard.archive.store.write(self.name, bytes([self.content[0] ^ 1]) + self.content[1:])

    def check(self) -> None:
        row = self.row
        assert row.round_done == row.round_portions
        assert row.last_verified_at is None
        assert {each.name for each in ArchiveDamage.objects.all()} == {self.name}
        alert = Alert.objects.get(resolved_at=None)
        assert alert.cause == f"repository:{row.pk}:damage"
        self.yard.archive.store.write(self.name, self.content)
        self.check_kept()


class Lost:
    """A repository with two copies, of which a server will know nothing."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.vault = Vault.of(world)
        source = volume(world, blocks=2)
        policy = s3_policy(self.vault, volume_target(source))
        self.runs = set()
        for seed in (2, 3):
            write(world, source, start=1, seed=seed)
            self.runs.add(world.backup(policy).run)
        copies = Snapshot.objects.filter(collection="copy_to_s3")
        self.blocks = {each.aws_ref: self.vault.blocks(each) for each in copies}


class RebuildStory(Story):
    """The records of what is in a bucket are made again."""

    def __init__(self, lost: Lost) -> None:
        super().__init__(lost.world)
        self.lost = lost
        for table in (S3Copy, Snapshot, Backup, Policy, S3Repository):
            table.objects.all().delete()

    def ask(self) -> None:
        row = self.lost.vault.row
        place = {
            "name": "found",
            "account": row.account_id,
            "bucket_name": row.bucket_name,
            "prefix": row.prefix,
        }
        rebuild(place, actor=people.of(self.world.user))

    def check(self) -> None:
        row = self.lost.vault.row = S3Repository.objects.get()
        found = Snapshot.objects.filter(status=SnapshotStatus.SUCCEEDED).order_by("aws_ref")
        assert [each.aws_ref for each in found] == sorted(self.lost.blocks)
        for snapshot in found:
            assert self.lost.vault.blocks(snapshot) == self.lost.blocks[snapshot.aws_ref]
        records = Backup.objects.all()
        assert sorted(each.run for each in records) == sorted(self.lost.runs)
        assert row.size_bytes == sum(S3Copy.objects.values_list("size_bytes", flat=True))
