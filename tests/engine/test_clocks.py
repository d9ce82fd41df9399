"""Clocks that are wrong by hours or a year, the server's and S3's: nothing is lost, or waits."""

from datetime import timedelta
from itertools import cycle, islice

import pytest

from cpm.archive.collector import GRACE
from cpm.engine import cleanup, queue, s3_progress, sweep, tick
from cpm.kernel import clock
from cpm.models.backups import Backup, CopyStatus
from cpm.models.policies import Policy
from cpm.models.s3_copies import S3Copy, S3CopyPhase, S3CopyRange
from cpm.models.snapshots import Snapshot
from tests.archive.volumes import Copier, noise
from tests.engine.archiving import GET, Vault, calls, copies_of, in_ebs, s3_policy
from tests.engine.conftest import Later
from tests.engine.world import World

HOURS, YEAR = timedelta(hours=5), timedelta(days=365)


@pytest.fixture
def vault(world: World) -> Vault:
    return Vault.of(world)


def jump(world: World, span: timedelta) -> None:
    """Set the server's clock, forward or back."""
    world.offset += span
    clock.set_offset(world.offset)


def take_a_step() -> None:
    """Do what is due until a copy has come on."""
    sweep.sweep()
    before = stage()
    while queue.run_next() and stage() == before:
        pass


def stage() -> tuple[str, bool]:
    """How far the copy is, and whether all its blocks are there."""
    return S3Copy.objects.get().phase, S3CopyRange.objects.filter(is_done=False).exists()


def is_whole(world: World, vault: Vault, backup: Backup) -> bool:
    """Whether what is in S3 of a run is what EBS has."""
    (copy,) = copies_of(backup)
    (original,) = backup.snapshots.filter(collection="volumes")
    return vault.blocks(copy) == in_ebs(world, original.aws_ref)


def newest(policy: Policy) -> Backup:
    return policy.backups.latest("pk")


@pytest.mark.parametrize("first", [HOURS, -HOURS], ids=["forward", "back"])
def test_a_copy_comes_to_its_end_while_the_clock_jumps_between_its_steps(
    world: World, vault: Vault, first: timedelta
) -> None:
    backup = tick.run_now(s3_policy(vault))
    while not S3Copy.objects.exists():
        world.step()
    jumps = 0
    for span in islice(cycle((first, -first)), 50):
        jump(world, span + timedelta(minutes=1))
        jumps += 1
        take_a_step()
        told = s3_progress.of(backup)
        assert told is None or (told.seconds_left or 0) >= 0
        backup.refresh_from_db()
        if backup.s3_status == CopyStatus.SUCCEEDED:
            break
    assert jumps > 2
    assert calls(world, GET) == [4]
    assert is_whole(world, vault, backup)


def test_what_began_while_the_clock_was_a_year_ahead_does_not_wait_for_that_year(
    world: World, vault: Vault
) -> None:
    policy = s3_policy(vault)
    world.schedule(policy, every_unit="H", every_how_many=1)
    jump(world, YEAR)
    while not S3Copy.objects.filter(phase=S3CopyPhase.RUNNING).exists():
        world.step()
    running = newest(policy)
    jump(world, -YEAR)
    world.pass_time(timedelta(minutes=61))
    running.refresh_from_db()
    assert running.s3_status == CopyStatus.SUCCEEDED
    assert is_whole(world, vault, running)
    # Its schedule goes on, too.
    assert newest(policy).pk > running.pk
    assert is_whole(world, vault, newest(policy))


def test_garbage_goes_by_s3_s_clock_whatever_the_server_s_was_like(
    world: World, vault: Vault, later: Later
) -> None:
    backup = world.backup(s3_policy(vault))
    kept = set(vault.keys("packs/"))
    Copier(vault.opened()).write({7: noise(7)})
    for span in (HOURS, -HOURS, YEAR, -YEAR, -HOURS, HOURS):
        jump(world, span)
        world.pass_time(timedelta(hours=1))
    assert len(vault.keys("packs/")) == len(kept) + 1
    later(GRACE)
    world.pass_time(timedelta(days=2))
    assert set(vault.keys("packs/")) == kept
    assert is_whole(world, vault, backup)


def test_copies_grow_old_by_s3_s_clock_and_by_the_server_s(
    world: World, vault: Vault, later: Later
) -> None:
    policy = s3_policy(vault, s3_keep_duration=1, s3_keep_duration_unit="M")
    world.backup(policy)
    jump(world, YEAR)
    cleanup.run()
    jump(world, -YEAR)
    later(YEAR)
    cleanup.run()
    world.drain()
    assert len(vault.manifests()) == 1
    assert not Snapshot.objects.exclude(delete_requested_at=None).exists()
    jump(world, YEAR)
    cleanup.run()
    world.drain()
    assert vault.manifests() == []


def test_copies_do_not_grow_old_where_s3_does_not_say_what_time_it_is(
    world: World, vault: Vault, later: Later
) -> None:
    policy = s3_policy(vault, s3_keep_duration=1, s3_keep_duration_unit="M")
    world.backup(policy)
    for move in (later, lambda span: jump(world, span)):
        move(YEAR)
    world.simulator.faults([{"op": "s3:HeadBucket", "kind": "denied", "code": "403"}])
    cleanup.run()
    assert not Snapshot.objects.exclude(delete_requested_at=None).exists()
    world.simulator.faults([])
    cleanup.run()
    world.drain()
    assert vault.manifests() == []
