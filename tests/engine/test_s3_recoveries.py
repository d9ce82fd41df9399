"""Recoveries from S3 that meet trouble: nothing half-made stays, and what is told is true."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from cpm.archive import packs
from cpm.archive.blobs import BLOCK_BYTES
from cpm.engine import events, recoveries, restore_ranges
from cpm.engine.queue import Overtaken
from cpm.kernel import clock
from cpm.models.operations import Operation, OperationPhase
from cpm.models.recoveries import Recovery, RecoveryOutcome
from cpm.models.s3_restores import S3RestoreRange
from cpm.models.snapshots import Snapshot
from cpm.queries import people
from cpm.queries.recoveries import listed
from cpm.resources import registry
from cpm.services import recoveries as services
from tests.engine.archiving import Vault, copies_of, s3_policy
from tests.engine.conftest import Later
from tests.engine.world import World, at_once, log_of, open_alerts, volume_target
from tests.simulator import blocks as direct

SEAL = "ebs:CompleteSnapshot"


@pytest.fixture
def volume_id(world: World) -> str:
    """A volume of three pages with data in each."""
    made = world.ec2().create_volume(AvailabilityZone="us-east-1a", Size=5)
    volume_id: str = made["VolumeId"]
    world.simulator.fill(
        volume_id,
        {"pattern": "random", "start": 0, "count": 2},
        {"pattern": "text", "start": 5000, "count": 1, "seed": 7},
        {"pattern": "text", "start": 10239, "count": 1, "seed": 8},
    )
    return volume_id


@pytest.fixture
def vault(world: World) -> Vault:
    return Vault.of(world)


@pytest.fixture
def copy(world: World, vault: Vault, volume_id: str) -> Snapshot:
    """The volume's copy in S3; there is no snapshot of it in EBS any longer."""
    backup = world.backup(s3_policy(vault, volume_target(volume_id), s3_deletes_originals=True))
    assert world.snapshots_in_aws() == []
    (copy,) = copies_of(backup)
    return copy


def begin(world: World, copy: Snapshot, **asked: Any) -> Recovery:
    owner, collection = registry.by_snapshot_collection(copy.collection)
    actor = people.of(world.user)
    return services.from_snapshot(copy.backup_id, owner, collection, copy.pk, asked, actor=actor)


def done(world: World, recovery: Recovery) -> Recovery:
    world.drain()
    recovery.refresh_from_db()
    return recovery


def damage(vault: Vault, copy: Snapshot, block: int) -> None:
    """Turn a bit of a block in the repository."""
    archive = vault.opened()
    place = next(
        place
        for found in archive.manifest(copy.aws_ref).pages
        for number, place in archive.page(found).items()
        if number == block
    )
    name = packs.name_of(place.pack)
    content = bytearray(archive.store.read(name))
    content[place.offset + place.length // 2] ^= 1
    archive.store.write(name, bytes(content))


def lose_packs(vault: Vault) -> None:
    store = vault.opened().store
    for stored in list(store.list(packs.PREFIX)):
        store.delete(stored.name)


def test_a_damaged_block_is_named_and_nothing_is_left(
    world: World, vault: Vault, copy: Snapshot, volume_id: str
) -> None:
    damage(vault, copy, 5000)
    recovery = done(world, begin(world, copy))
    assert recovery.outcome == RecoveryOutcome.FAILED
    assert f"of {volume_id}: block 5000 is damaged in S3" in recovery.error
    assert world.snapshots_in_aws() == []
    assert f"recovery:{world.user.pk}:{volume_id}" in open_alerts()
    assert log_of(recovery)[-2:] == ["step_undone", "recovery_failed"]


def test_damaged_blocks_are_zeros_where_that_is_wished(
    world: World, vault: Vault, copy: Snapshot, volume_id: str
) -> None:
    damage(vault, copy, 5000)
    recovery = done(world, begin(world, copy, allow_damaged=True))
    assert recovery.outcome == RecoveryOutcome.PARTIAL
    assert "block 5000 is damaged in S3, and zeros now" in recovery.error
    (result,) = recovery.result_resource_ids
    assert world.simulator.differing(volume_id, result) == [5000]
    assert world.simulator.read_blocks(result, 5000) == bytes(BLOCK_BYTES)
    assert world.snapshots_in_aws() == []


def test_lost_packs_fail_a_recovery(world: World, vault: Vault, copy: Snapshot) -> None:
    lose_packs(vault)
    recovery = done(world, begin(world, copy, recover_as="S"))
    assert recovery.outcome == RecoveryOutcome.FAILED
    assert "page 0" in recovery.error
    assert world.snapshots_in_aws() == []


@pytest.mark.parametrize(
    "operation", ["ebs:StartSnapshot", "ebs:PutSnapshotBlock", "ebs:CompleteSnapshot"]
)
def test_what_aws_does_not_allow_fails_a_recovery_and_is_taken_back(
    world: World, copy: Snapshot, operation: str
) -> None:
    recovery = begin(world, copy)
    world.simulator.faults([{"op": operation, "kind": "denied"}])
    assert done(world, recovery).outcome == RecoveryOutcome.FAILED
    assert operation in recovery.error
    assert world.snapshots_in_aws() == []


def test_what_passes_only_delays_a_recovery(world: World, copy: Snapshot, volume_id: str) -> None:
    recovery = begin(world, copy)
    world.simulator.reset_counts()
    world.simulator.faults(
        [
            {"op": "ebs:StartSnapshot", "kind": "lost", "times": 1},
            {"op": "ebs:PutSnapshotBlock", "kind": "503", "times": 1},
            {"op": "ebs:CompleteSnapshot", "kind": "lost", "times": 1},
            {"op": "s3:GetObject", "kind": "503", "times": 2},
        ]
    )
    assert done(world, recovery).outcome == RecoveryOutcome.SUCCEEDED
    (result,) = recovery.result_resource_ids
    assert world.simulator.differing(volume_id, result) == []
    assert world.simulator.counts()["ec2:CreateVolume"] == 1
    assert world.snapshots_in_aws() == []


def test_a_seal_whose_answer_was_lost_holds_although_aws_refuses_to_repeat_it(
    world: World, copy: Snapshot, volume_id: str
) -> None:
    recovery = begin(world, copy, recover_as="S")
    world.simulator.config(pending=100_000)
    world.simulator.faults([{"op": SEAL, "kind": "lost", "times": 1}])
    sealing = sealed(world)
    assert world.simulator.counts()[SEAL] == 2
    assert sealing.attempts == 2
    world.simulator.finish()
    assert done(world, recovery).outcome == RecoveryOutcome.SUCCEEDED
    assert world.simulator.differing(volume_id, recovery.result_resource_ids[0]) == []


def test_a_seal_that_never_reached_aws_and_is_refused_fails_when_aws_gives_the_snapshot_up(
    world: World, copy: Snapshot, later: Later
) -> None:
    recovery = begin(world, copy, recover_as="S")
    world.simulator.faults([{"op": SEAL, "kind": "drop", "times": 1}])
    work_until(world, lambda: Operation.objects.filter(effect="complete_snapshot").exists())
    snapshot_id = S3RestoreRange.objects.all()[0].restore.start.refs["snapshot"]
    # AWS has more blocks than it is told.
    direct.put(world.client("ebs"), snapshot_id, 7, direct.block("from nowhere"))
    sealed(world)
    later(timedelta(days=2))
    assert done(world, recovery).outcome == RecoveryOutcome.FAILED
    assert "complete_snapshot" in recovery.error
    assert world.snapshots_in_aws() == []


def test_a_snapshot_that_aws_has_given_up_fails_a_recovery_and_is_taken_away(
    world: World, copy: Snapshot, later: Later
) -> None:
    recovery = begin(world, copy)
    first, *_ = ranges_to_be_put(world)
    # Nobody was there to put anything for longer than AWS waits.
    later(timedelta(days=2))
    assert done(world, recovery).outcome == RecoveryOutcome.FAILED
    assert "ebs:PutSnapshotBlock ValidationException" in recovery.error
    assert first.restore.start.refs["snapshot"] in recovery.error
    assert world.snapshots_in_aws() == []


def test_what_was_put_before_a_crash_is_not_put_again(
    world: World, copy: Snapshot, volume_id: str
) -> None:
    recovery = begin(world, copy, recover_as="S")
    first, *_ = ranges_to_be_put(world)
    snapshot_id = first.restore.start.refs["snapshot"]
    # Whoever had it wrote down that he had put its first block, and died.
    block = world.simulator.read_blocks(volume_id)
    direct.put(world.client("ebs"), snapshot_id, 0, block)
    S3RestoreRange.objects.filter(pk=first.pk).update(block=1, blocks_done=1)
    world.simulator.reset_counts()
    assert done(world, recovery).outcome == RecoveryOutcome.SUCCEEDED
    assert world.simulator.counts()["ebs:PutSnapshotBlock"] == 3
    assert recovery.result_resource_ids == [snapshot_id]
    assert world.simulator.differing(volume_id, snapshot_id) == []


def test_of_two_workers_with_one_range_the_slower_gives_way(
    world: World, copy: Snapshot, volume_id: str
) -> None:
    recovery = begin(world, copy, recover_as="S")
    first, *_ = ranges_to_be_put(world)
    assert first.due_at is not None
    world.move_to(first.due_at)

    def put() -> str:
        try:
            restore_ranges.look(first.pk)
        except Overtaken:
            return "gave way"
        return "done"

    assert "done" in at_once(2, put)
    first.refresh_from_db()
    assert (first.is_done, first.blocks_done) == (True, 2)
    assert done(world, recovery).outcome == RecoveryOutcome.SUCCEEDED
    assert world.simulator.differing(volume_id, recovery.result_resource_ids[0]) == []


def test_progress_is_told_by_blocks(world: World, copy: Snapshot) -> None:
    recovery = begin(world, copy, recover_as="S")
    first, *_ = ranges_to_be_put(world)
    restore_ranges.look(first.pk)
    assert listed(people.of(world.user)).get(pk=recovery.pk).progress == 0  # type: ignore[attr-defined]
    world.move_to(first.due_at or clock.now())
    restore_ranges.look(first.pk)
    assert listed(people.of(world.user)).get(pk=recovery.pk).progress == 50  # type: ignore[attr-defined]
    recoveries.look(recovery.pk)
    (line,) = recovery.events.filter(code="restore_progress")
    told = rf"50 % of {copy.resource_id} is back, at \d+ MiB/s; the rest takes about \d+ minutes\."
    assert re.fullmatch(told, events.text(line.code, line.values))
    assert done(world, recovery).outcome == RecoveryOutcome.SUCCEEDED


def test_a_restore_ends_at_its_deadline(world: World, copy: Snapshot) -> None:
    recovery = begin(world, copy)
    first, *_ = ranges_to_be_put(world)
    world.move_to(first.restore.deadline_at)
    recoveries.look(recovery.pk)
    assert done(world, recovery).outcome == RecoveryOutcome.FAILED
    assert "in time" in recovery.error
    assert world.snapshots_in_aws() == []


def sealed(world: World) -> Operation:
    """The completion of the one restore, once AWS seems to work on it."""
    sealing = Operation.objects.filter(effect="complete_snapshot", phase=OperationPhase.STARTED)
    work_until(world, sealing.exists)
    return sealing.get()


def work_until(world: World, is_so: Callable[[], bool]) -> None:
    for _ in range(200):
        if is_so():
            return
        world.step()
    raise AssertionError(world)


def ranges_to_be_put(world: World) -> list[S3RestoreRange]:
    """The ranges of a recovery that has just been begun; AWS has refused each of them once."""
    world.simulator.faults([{"op": "ebs:PutSnapshotBlock", "kind": "denied", "times": 3}])
    world.work()
    ranges = list(S3RestoreRange.objects.select_related("restore__start").order_by("pk"))
    assert [each.refusals for each in ranges] == [1, 1, 1]
    return ranges
