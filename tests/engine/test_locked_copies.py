"""Copies in buckets that lock what comes (Object Lock): that they stay for now is no error."""

from datetime import timedelta
from typing import Any

import pytest

from cpm.archive.collector import GRACE
from cpm.engine import archive_care, cleanup, deletions, queue
from cpm.kernel import clock
from cpm.models.alerts import Alert
from cpm.models.backups import Backup
from cpm.models.events import Event, Severity
from cpm.models.policies import Policy
from cpm.models.snapshots import SnapshotStatus
from tests.engine.archiving import Vault, copies_of, s3_policy, volume, write
from tests.engine.conftest import Later
from tests.engine.world import World, volume_target

LOCK = timedelta(days=30)


@pytest.fixture
def vault(world: World) -> Vault:
    """A repository in a bucket that locks everything for a month."""
    vault = Vault.of(world, bucket={"ObjectLockEnabledForBucket": True})
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": LOCK.days}}
    configuration: Any = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    world.client("s3").put_object_lock_configuration(
        Bucket=vault.row.bucket_name, ObjectLockConfiguration=configuration
    )
    return vault


def paid_for(vault: Vault) -> set[str]:
    """What the bucket has versions of."""
    s3 = vault.world.client("s3")
    found = s3.list_object_versions(Bucket=vault.row.bucket_name)
    assert not found.get("DeleteMarkers")
    return {each["Key"].removeprefix("cpm/") for each in found["Versions"]}


def retained(world: World, policy: Policy) -> tuple[Backup, Backup]:
    """Two records of which the policy keeps one in S3; the copy of the other is locked."""
    source = policy.targets.get().resource_id
    first = world.backup(policy)
    write(world, source, count=4, seed=9)
    return first, world.backup(policy)


def test_a_locked_copy_stays_without_an_alarm_and_goes_when_its_lock_ends(
    world: World, vault: Vault, later: Later
) -> None:
    policy = s3_policy(vault, volume_target(volume(world)), s3_keep_generations=1)
    first, second = retained(world, policy)
    (locked,), (kept,) = copies_of(first), copies_of(second)
    stored = paid_for(vault)
    for _ in range(2):
        assert (locked.status, locked.deleted_at) == (SnapshotStatus.SUCCEEDED, None)
        assert locked.delete_requested_at is not None
        assert vault.manifests() == sorted([locked.aws_ref, kept.aws_ref])
        # Nor has anything been put that would be locked itself.
        assert paid_for(vault) == stored
        clean_up(world)
        locked.refresh_from_db()
    assert quiet()
    later(LOCK + timedelta(days=1))
    clean_up(world)
    locked.refresh_from_db()
    assert locked.status == SnapshotStatus.DELETED
    assert vault.manifests() == [kept.aws_ref]
    later(LOCK + GRACE)
    archive_care.tick(clock.now())
    world.move_to(clock.now() + timedelta(days=2))
    archive_care.tick(clock.now())
    while queue.run_next():
        pass
    assert quiet()
    assert paid_for(vault) < stored
    assert len(vault.blocks(kept)) == 4


def test_a_record_whose_copy_is_locked_is_gone_at_once_and_its_copy_when_it_may(
    world: World, vault: Vault, later: Later
) -> None:
    backup = world.backup(s3_policy(vault))
    deletions.discard(backup)
    world.drain()
    clean_up(world)
    assert len(vault.manifests()) == 1
    assert quiet()
    later(LOCK + timedelta(days=1))
    clean_up(world)
    assert vault.manifests() == []
    assert not Backup.objects.filter(pk=backup.pk).exists()
    assert quiet()


def clean_up(world: World) -> None:
    cleanup.run()
    world.drain()


def quiet() -> bool:
    """Whether nobody was alarmed, in no log either."""
    return not (Alert.objects.exists() or Event.objects.filter(severity=Severity.ERROR).exists())
