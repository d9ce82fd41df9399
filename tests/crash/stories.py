"""What people ask of the server, and what must be true when all has been done.

A story may be asked for again: whoever got no answer looks whether his wish was heard. It is told
of AWS as its owner sees it, by tags, and of the rows only that they say the same.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django.db import connection

from cpm.aws import tags
from cpm.engine import deletions, inventory, tick
from cpm.engine.deleted import vanished_cause
from cpm.kernel import clock
from cpm.models.alerts import Alert
from cpm.models.backups import Backup, BackupOutcome, BackupPhase
from cpm.models.events import Event
from cpm.models.operations import Operation, OperationOutcome, OperationPhase
from cpm.models.recoveries import Recovery, RecoveryOutcome, RecoveryPhase
from cpm.models.snapshots import SnapshotStatus
from cpm.queries import people
from cpm.resources import registry
from cpm.services import recoveries as services
from tests.engine.world import World, instance_target, refs_of, volume_target


class Story(ABC):
    """Something that is wanted once."""

    def __init__(self, world: World) -> None:
        self.world = world

    @abstractmethod
    def ask(self) -> None:
        """Ask for it, unless it has been recorded already."""

    @abstractmethod
    def check(self) -> None:
        """See that it was done once, wholly, and that the record tells of it."""


def check_quiet() -> None:
    """Nothing is open, nobody works, and nothing waits to be done."""
    assert not Operation.objects.exclude(phase=OperationPhase.CLOSED).exists()
    assert jobs() == []


def is_over() -> bool:
    """Whether all records are closed and nothing waits to be done."""
    backups = Backup.objects.exclude(phase=BackupPhase.CLOSED)
    recoveries = Recovery.objects.exclude(phase=RecoveryPhase.CLOSED)
    return not (jobs() or backups.exists() or recoveries.exists())


def jobs() -> list[tuple[str, str, str]]:
    """What waits in the queue or is being done."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT task_name, status, lock FROM procrastinate_jobs")
        return list(cursor.fetchall())


class BackupStory(Story):
    """An instance with three volumes and a volume of its own are protected."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        estate = world.seed(instances=1, volumes_per=3, standalone=1)
        (instance_id,), (volume_id,) = estate["instances"], estate["standalone"]
        self.volumes = {*estate["volumes"][instance_id], volume_id}
        self.policy = world.policy(instance_target(instance_id), volume_target(volume_id))

    def ask(self) -> None:
        if not self.policy.backups.exists():
            tick.run_now(self.policy)

    def check(self) -> None:
        self.check_backup(self.policy.backups.get())

    def check_backup(self, backup: Backup) -> None:
        """One snapshot of each volume, known to AWS and to the record, and nothing went wrong."""
        self.check_snapshots(backup)
        assert backup.outcome == BackupOutcome.SUCCEEDED

    def check_snapshots(self, backup: Backup) -> None:
        """One snapshot of each volume, known to AWS and to the record."""
        made = self.world.snapshots_in_aws(cpm_backup_id=str(backup.pk))
        assert Counter(each["VolumeId"] for each in made) == dict.fromkeys(self.volumes, 1)
        assert {each["SnapshotId"] for each in made} == refs_of(backup)
        tokens = {str(operation.token) for operation in backup.operations.all()}
        assert {tags.from_aws(each["Tags"])[tags.TOKEN] for each in made} == tokens
        assert set(backup.snapshots.values_list("status", flat=True)) == {SnapshotStatus.SUCCEEDED}


class RetentionStory(BackupStory):
    """The next run of a policy that keeps one generation."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.policy.generations = 1
        self.policy.save()
        self.old = world.backup(self.policy)

    def ask(self) -> None:
        if not self.policy.backups.exclude(pk=self.old.pk).exists():
            tick.run_now(self.policy)

    def check(self) -> None:
        self.old.refresh_from_db()
        assert self.old.outcome == BackupOutcome.DELETED
        assert self.world.snapshots_in_aws(cpm_backup_id=str(self.old.pk)) == []
        self.check_backup(self.policy.backups.exclude(pk=self.old.pk).get())


class DeletionStory(Story):
    """A backup is thrown away, and another is kept."""

    def __init__(self, world: World, kept: Backup) -> None:
        super().__init__(world)
        self.kept = kept
        (instance_id,) = world.seed(instances=1, volumes_per=2)["instances"]
        self.backup = world.backup(world.policy(instance_target(instance_id)))

    def ask(self) -> None:
        deletions.request(deletions.of_backup(self.backup))

    def check(self) -> None:
        self.backup.refresh_from_db()
        assert self.world.snapshots_in_aws(cpm_backup_id=str(self.backup.pk)) == []
        left = self.world.snapshots_in_aws(cpm_backup_id=str(self.kept.pk))
        assert {each["SnapshotId"] for each in left} == refs_of(self.kept)
        statuses = self.backup.snapshots.values_list("status", flat=True)
        assert set(statuses) == {SnapshotStatus.DELETED}
        assert self.backup.outcome == BackupOutcome.DELETED


class InventoryStory(Story):
    """Of two backups AWS has made one after it was given up, and somebody has deleted the other."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.given_up, self.lost = (
            world.backup(world.policy(volume_target(world.volume()))) for _ in range(2)
        )
        (self.made,) = refs_of(self.given_up)
        self.given_up.operations.update(outcome=OperationOutcome.FAILED, refs={})
        self.given_up.snapshots.update(status=SnapshotStatus.FAILED, aws_ref="")
        Backup.objects.filter(pk=self.given_up.pk).update(outcome=BackupOutcome.FAILED)
        world.ec2().delete_snapshot(SnapshotId=refs_of(self.lost).pop())
        world.move_to(clock.now() + timedelta(minutes=5))
        Alert.objects.all().delete()

    def ask(self) -> None:
        if not jobs():
            inventory.start()

    def check(self) -> None:
        (adopted,), (marked,) = self.given_up.snapshots.all(), self.lost.snapshots.all()
        assert (adopted.aws_ref, adopted.status) == (self.made, SnapshotStatus.SUCCEEDED)
        assert marked.status == SnapshotStatus.DELETED
        outcomes = {Backup.objects.get(pk=each.pk).outcome for each in (self.given_up, self.lost)}
        assert outcomes == {BackupOutcome.PARTIAL, BackupOutcome.DELETED}
        told = Event.objects.filter(backup__in=[self.given_up, self.lost])
        assert told.filter(code="snapshot_adopted").count() == 1
        assert told.filter(code="snapshot_vanished").count() == 1
        assert Alert.objects.get().cause == vanished_cause(self.world.account)


class RecoveryStory(Story):
    """Something is brought back from a backup that many recoveries share."""

    def __init__(self, world: World, backup: Backup) -> None:
        super().__init__(world)
        self.backup = backup
        self.actor = people.of(world.user)
        self.earlier = set(Recovery.objects.values_list("pk", flat=True))

    @property
    def recovery(self) -> Recovery:
        """The record of it."""
        return Recovery.objects.exclude(pk__in=self.earlier).get()

    def ask(self) -> None:
        if not Recovery.objects.exclude(pk__in=self.earlier).exists():
            self.recover()

    @abstractmethod
    def recover(self) -> None:
        """Ask for it."""


class VolumeRecoveryStory(RecoveryStory):
    """A volume is brought back and attached, in the place of another where that is wished."""

    DEVICE = "/dev/sdf"

    def __init__(self, world: World, backup: Backup, behavior: str) -> None:
        super().__init__(world, backup)
        self.behavior = behavior
        estate = world.seed(instances=1, volumes_per=1 if behavior == "F" else 2)
        (self.instance_id,) = estate["instances"]
        # Of the root volume, and of the one to be replaced.
        self.root, *self.replaced = estate["volumes"][self.instance_id]
        world.ec2().stop_instances(InstanceIds=[self.instance_id])

    def recover(self) -> None:
        driver = registry.driver("ebs_volume")
        snapshot = self.backup.snapshots.get(instance_id=None)
        services.from_snapshot(
            self.backup.pk,
            driver,
            driver.snapshot_collections[0],
            snapshot.pk,
            {
                "attach_to_instance": self.instance_id,
                "device": self.DEVICE,
                "attach_behavior": self.behavior,
            },
            actor=self.actor,
        )

    def check(self) -> None:
        (new,) = made_by(self.recovery, self.world.ec2().describe_volumes, "Volumes")
        assert self.recovery.result_resource_ids == [new["VolumeId"]]
        assert self.recovery.outcome == RecoveryOutcome.SUCCEEDED
        assert volume_at(self.world, self.instance_id, self.DEVICE) == new["VolumeId"]
        left = {} if self.behavior == "D" else dict.fromkeys(self.replaced, "available")
        states = volume_states(self.world, [self.root, *self.replaced])
        assert states == {self.root: "in-use", **left}


class UndoneRecoveryStory(VolumeRecoveryStory):
    """A recovery to be taken back: AWS did not allow to attach the new volume."""

    def __init__(self, world: World, backup: Backup) -> None:
        super().__init__(world, backup, "S")
        world.simulator.faults([{"op": "ec2:AttachVolume", "kind": "denied"}])
        self.ask()
        attach = self.recovery.operations.filter(effect="attach_volume", outcome="")
        while attach.exists() and world.next_look():
            world.work()
        # The old volume is to be attached again.
        world.simulator.faults([])

    def check(self) -> None:
        assert made_by(self.recovery, self.world.ec2().describe_volumes, "Volumes") == []
        (replaced,) = self.replaced
        assert volume_at(self.world, self.instance_id, self.DEVICE) == replaced
        assert self.recovery.result_resource_ids == []
        assert self.recovery.outcome == RecoveryOutcome.FAILED


class InstanceRecoveryStory(RecoveryStory):
    """An instance is launched again from its snapshots."""

    def recover(self) -> None:
        driver = registry.driver("ec2_instance")
        target = self.backup.targets.get(kind=driver.kind)
        services.of_resource(self.backup.pk, driver, target.pk, {}, actor=self.actor)

    def check(self) -> None:
        ec2 = self.world.ec2()
        (reservation,) = made_by(self.recovery, ec2.describe_instances, "Reservations")
        (new,) = reservation["Instances"]
        assert new["State"]["Name"] == "running"
        assert self.recovery.result_resource_ids == [new["InstanceId"]]
        assert self.recovery.outcome == RecoveryOutcome.SUCCEEDED
        volumes = made_by(self.recovery, ec2.describe_volumes, "Volumes")
        attached = [each["Ebs"]["VolumeId"] for each in new["BlockDeviceMappings"]]
        assert sorted(attached) == sorted(each["VolumeId"] for each in volumes)
        assert len(attached) == self.backup.snapshots.exclude(instance_id=None).count()
        for volume in volumes:
            assert tags.from_aws(volume["Tags"])["Name"].startswith("server-")
        assert made_by(self.recovery, ec2.describe_images, "Images") == []


class InitialAmiRecoveryStory(InstanceRecoveryStory):
    """An instance is launched from its initial AMI, whose root volume is exchanged."""

    def check(self) -> None:
        ec2 = self.world.ec2()
        (reservation,) = made_by(self.recovery, ec2.describe_instances, "Reservations")
        (new,) = reservation["Instances"]
        assert new["State"]["Name"] == "running"
        assert self.recovery.result_resource_ids == [new["InstanceId"]]
        assert self.recovery.outcome == RecoveryOutcome.SUCCEEDED
        volumes = {
            each["VolumeId"]: each["SnapshotId"]
            for each in made_by(self.recovery, ec2.describe_volumes, "Volumes")
        }
        found = {
            each["DeviceName"]: volumes.pop(each["Ebs"]["VolumeId"])
            for each in new["BlockDeviceMappings"]
        }
        copies = self.backup.snapshots.filter(collection="volumes")
        assert found == dict(copies.values_list("volume_device", "aws_ref"))
        assert volumes == {}, "volumes that nobody has are left"


def with_initial_ami(world: World) -> Backup:
    """A backup of an instance that comes with an initial AMI."""
    (instance_id,) = world.seed(instances=1, volumes_per=1)["instances"]
    return world.backup(world.policy(instance_target(instance_id, backup_option="I")))


def made_by(recovery: Recovery, describe: Callable[..., Any], key: str) -> list[dict[str, Any]]:
    """What AWS has that carries a token of the recovery."""
    tokens = [str(token) for token in recovery.operations.values_list("token", flat=True)]
    found = describe(Filters=[{"Name": f"tag:{tags.TOKEN}", "Values": tokens}])
    return list(found[key])


def volume_states(world: World, volume_ids: Iterable[str]) -> dict[str, str]:
    """The states of those of the volumes that exist."""
    by_id = [{"Name": "volume-id", "Values": list(volume_ids)}]
    found = world.ec2().describe_volumes(Filters=by_id)["Volumes"]
    return {each["VolumeId"]: each["State"] for each in found}


def volume_at(world: World, instance_id: str, device: str) -> str | None:
    """The volume that an instance has there."""
    found = world.ec2().describe_instances(InstanceIds=[instance_id])
    mappings = found["Reservations"][0]["Instances"][0]["BlockDeviceMappings"]
    at_device = [each["Ebs"]["VolumeId"] for each in mappings if each["DeviceName"] == device]
    return at_device[0] if at_device else None
