"""What was copied to S3 comes back, told like the other stories."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from cpm.archive import packs
from cpm.engine import repositories
from cpm.models.backups import Backup
from cpm.models.recoveries import RecoveryOutcome
from cpm.models.s3_restores import S3Restore, S3RestorePhase, S3RestoreRange
from cpm.models.snapshots import Snapshot
from cpm.resources import registry
from cpm.services import recoveries as services
from tests.crash.stories import RecoveryStory, made_by
from tests.engine.archiving import Vault, copies_of, s3_policy, volume, write
from tests.engine.world import World, instance_target, volume_target

# Beyond the first page, so that two workers may share it.
_SECOND_PAGE = 5000


def archived_volume(world: World) -> Backup:
    """A volume with data on two pages."""
    source = volume(world, size_gib=3, blocks=2)
    write(world, source, start=_SECOND_PAGE, seed=2)
    policy = s3_policy(Vault.of(world), volume_target(source), s3_deletes_originals=True)
    return world.backup(policy)


def archived_instance(world: World) -> Backup:
    """An instance of two volumes with data."""
    estate = world.seed(instances=1, volumes_per=2)
    (instance_id,) = estate["instances"]
    for seed, each in enumerate(estate["volumes"][instance_id]):
        write(world, each, count=2, seed=seed)
    policy = s3_policy(Vault.of(world), instance_target(instance_id), s3_deletes_originals=True)
    return world.backup(policy)


def lose_packs(backup: Backup) -> None:
    """Take everything out of the repository that its manifests name."""
    (copy,) = copies_of(backup)
    store = repositories.open_archive(copy.s3_copy.repository).store
    for stored in list(store.list(packs.PREFIX)):
        store.delete(stored.name)


class FromS3Story(RecoveryStory):
    """A copy in S3 becomes something again; that alone, and the record says so."""

    asked: Mapping[str, Any] = MappingProxyType({})

    def recover(self) -> None:
        (copy,) = copies_of(self.backup)
        driver, collection = registry.by_snapshot_collection(copy.collection)
        asked = dict(self.asked)
        services.from_snapshot(copy.backup_id, driver, collection, copy.pk, asked, actor=self.actor)

    def check_ended(self, results: Iterable[str]) -> None:
        """It has succeeded with these results, and nobody is at it."""
        assert self.recovery.outcome == RecoveryOutcome.SUCCEEDED
        assert self.recovery.result_resource_ids == list(results)
        self.check_nothing_open()

    def check_nothing_open(self) -> None:
        """Neither rows nor snapshots wait for anything."""
        assert not S3Restore.objects.exclude(phase=S3RestorePhase.CLOSED).exists()
        assert not S3RestoreRange.objects.exclude(due_at=None).exists()
        assert {each["State"] for each in self.world.snapshots_in_aws()} <= {"completed"}

    def snapshots(self) -> list[str]:
        """Those in AWS that carry a token of the recovery."""
        made = made_by(self.recovery, self.world.ec2().describe_snapshots, "Snapshots")
        return [each["SnapshotId"] for each in made]

    def check_same(self, copy: Snapshot, made: str) -> None:
        """It has every bit of the original."""
        assert self.world.simulator.differing(copy.resource_id, made) == []


class SnapshotFromS3Story(FromS3Story):
    """An EBS snapshot is made of a copy in S3."""

    asked = {"recover_as": "S"}

    def check(self) -> None:
        (made,) = self.snapshots()
        self.check_ended([made])
        (copy,) = copies_of(self.backup)
        self.check_same(copy, made)


class VolumeFromS3Story(FromS3Story):
    """A volume is made of a copy in S3, by way of a snapshot that goes."""

    def check(self) -> None:
        (made,) = made_by(self.recovery, self.world.ec2().describe_volumes, "Volumes")
        self.check_ended([made["VolumeId"]])
        (copy,) = copies_of(self.backup)
        self.check_same(copy, made["VolumeId"])
        assert self.snapshots() == []


class InstanceFromS3Story(FromS3Story):
    """An instance is launched of the copies of its volumes."""

    def recover(self) -> None:
        driver = registry.driver("ec2_instance")
        target = self.backup.targets.get(kind=driver.kind)
        asked = {"source": "s3"}
        services.of_resource(self.backup.pk, driver, target.pk, asked, actor=self.actor)

    def check(self) -> None:
        ec2 = self.world.ec2()
        (reservation,) = made_by(self.recovery, ec2.describe_instances, "Reservations")
        (new,) = reservation["Instances"]
        assert new["State"]["Name"] == "running"
        self.check_ended([new["InstanceId"]])
        attached = {
            each["DeviceName"]: each["Ebs"]["VolumeId"] for each in new["BlockDeviceMappings"]
        }
        copies = {copy.volume_device: copy for copy in copies_of(self.backup)}
        assert attached.keys() == copies.keys()
        for device, volume_id in attached.items():
            self.check_same(copies[device], volume_id)
        assert self.snapshots() == []
        assert made_by(self.recovery, ec2.describe_images, "Images") == []


class LostFromS3Story(FromS3Story):
    """What cannot be read in S3 leaves nothing in EBS."""

    def check(self) -> None:
        assert self.recovery.outcome == RecoveryOutcome.FAILED
        assert self.recovery.result_resource_ids == []
        assert made_by(self.recovery, self.world.ec2().describe_volumes, "Volumes") == []
        assert self.snapshots() == []
        self.check_nothing_open()
