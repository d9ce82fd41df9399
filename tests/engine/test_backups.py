"""A policy protects what it names, and its record tells how it went."""

from tests.engine.world import World, instance_target, log_of, refs_of, volume_target

from cpm.models.backups import BackupOutcome
from cpm.models.snapshots import SnapshotStatus


def test_a_volume_is_protected_and_the_record_says_so(world: World) -> None:
    volume_id = world.volume()
    backup = world.backup(world.policy(volume_target(volume_id)))
    assert backup.outcome == BackupOutcome.SUCCEEDED
    (snapshot,) = backup.snapshots.all()
    (in_aws,) = world.snapshots_in_aws(cpm_backup_id=str(backup.pk))
    assert in_aws["SnapshotId"] == snapshot.aws_ref
    assert in_aws["VolumeId"] == volume_id == snapshot.resource_id
    assert snapshot.status == SnapshotStatus.SUCCEEDED
    assert snapshot.size_gib == in_aws["VolumeSize"]
    assert log_of(backup) == ["backup_started", "snapshots_started", "backup_succeeded"]


def test_all_volumes_of_an_instance_are_taken_in_one_call(world: World) -> None:
    estate = world.seed(instances=1, volumes_per=3)
    (instance_id,) = estate["instances"]
    backup = world.backup(world.policy(instance_target(instance_id)))
    assert backup.outcome == BackupOutcome.SUCCEEDED
    made = world.snapshots_in_aws(cpm_backup_id=str(backup.pk))
    assert {each["VolumeId"] for each in made} == set(estate["volumes"][instance_id])
    assert {each["SnapshotId"] for each in made} == refs_of(backup)
    assert world.simulator.counts()["ec2:CreateSnapshots"] == 1
