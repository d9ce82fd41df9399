"""What a deleted user has left goes in the background, and nothing of it in AWS."""

from datetime import timedelta

from cpm.engine import removal, tick
from cpm.models.backups import Backup
from cpm.models.users import User
from tests.engine.world import World, log_of, refs_of, volume_target


def test_nothing_is_asked_of_aws_for_a_user_who_is_gone(world: World) -> None:
    policy = world.policy(volume_target(world.volume()), generations=1)
    kept = refs_of(world.backup(policy))
    world.simulator.reset_counts()
    world.schedule(policy, every_unit="H", every_how_many=1)
    removal.begin(world.user)
    world.pass_time(timedelta(hours=3))
    assert not User.objects.exists()
    assert world.simulator.counts() == {}
    assert {each["SnapshotId"] for each in world.snapshots_in_aws()} == kept


def test_what_failed_for_a_user_who_is_gone_is_not_repeated(world: World) -> None:
    bad = world.volume()
    world.simulator.config(fail=[bad])
    policy = world.policy(volume_target(bad), volume_target(world.volume()), retry_count=3)
    world.backup(policy)
    assert Backup.objects.filter(retry_at__isnull=False).exists()
    removal.begin(world.user)
    assert not Backup.objects.filter(retry_at__isnull=False).exists()


def test_a_backup_that_begins_in_the_last_moment_cannot_enter_the_account(world: World) -> None:
    policy = world.policy(volume_target(world.volume()))
    world.simulator.reset_counts()
    backup = tick.run_now(policy)
    removal.begin(world.user)
    world.work()
    assert log_of(backup) == []
    assert not User.objects.exists()
    assert world.simulator.counts() == {}
