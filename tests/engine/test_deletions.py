"""Snapshots go when they may, at once or in the background, and AWS's refusals are remembered."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from cpm.engine import cleanup, deletions, recoveries, tick
from cpm.engine.deleted import live_snapshots, mark_deleted, refusal_cause
from cpm.kernel.faults import Fault, FaultKind
from cpm.models.alerts import Alert
from cpm.models.backups import Backup, BackupOutcome
from cpm.models.events import Event, Stream
from cpm.models.operations import Operation
from cpm.models.recoveries import RecoveryOutcome
from cpm.models.snapshots import Snapshot, SnapshotStatus
from tests.engine.world import (
    World,
    log_of,
    make_world,
    open_alerts,
    recover,
    refs_of,
    volume_target,
)

DELETE = "ec2:DeleteSnapshot"


def backup_of(world: World, volumes: int = 1) -> Backup:
    """A finished backup of so many volumes."""
    return world.backup(world.policy(*(volume_target(world.volume()) for _ in range(volumes))))


def in_aws(world: World) -> set[str]:
    return {snapshot["SnapshotId"] for snapshot in world.snapshots_in_aws()}


def freeze(backup: Backup) -> None:
    Backup.objects.filter(pk=backup.pk).update(is_frozen=True, name=f"frozen-{backup.pk}")


def use(world: World, refs: Iterable[str]) -> list[str]:
    """Have images use the snapshots, for which AWS refuses to delete them."""
    return [
        world.ec2().register_image(
            Name=f"image-of-{ref}",
            RootDeviceName="/dev/xvda",
            BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": ref}}],
        )["ImageId"]
        for ref in refs
    ]


def drop(world: World, images: Iterable[str]) -> None:
    for image in images:
        world.ec2().deregister_image(ImageId=image)


def delete_now(snapshot: Snapshot) -> None:
    """As the API does it."""
    deletions.claim(snapshot)
    try:
        deletions.delete_in_aws(snapshot)
    except Fault:
        deletions.let_go(snapshot)
        raise
    mark_deleted([snapshot.pk])


def delete(world: World, choices: list[deletions.Choice]) -> None:
    deletions.request(choices)
    world.drain()


def outcome(backup: Backup) -> str:
    return str(Backup.objects.values_list("outcome", flat=True).get(pk=backup.pk))


# --- one snapshot, while somebody waits ----------------------------------------------------------


def test_one_snapshot_is_gone_when_the_call_returns(world: World) -> None:
    backup = backup_of(world, volumes=2)
    first, second = backup.snapshots.order_by("pk")
    delete_now(first)
    assert in_aws(world) == {second.aws_ref}
    first.refresh_from_db()
    assert (first.status, outcome(backup)) == (SnapshotStatus.DELETED, BackupOutcome.SUCCEEDED)
    delete_now(second)
    assert outcome(backup) == BackupOutcome.DELETED
    assert log_of(backup).count("snapshot_deleted") == 2


def test_one_that_is_gone_already_is_a_success(world: World) -> None:
    backup = backup_of(world)
    world.ec2().delete_snapshot(SnapshotId=refs_of(backup).pop())
    delete_now(backup.snapshots.get())
    assert outcome(backup) == BackupOutcome.DELETED


def test_aws_refusal_is_the_callers_and_changes_nothing(world: World) -> None:
    backup = backup_of(world)
    use(world, refs_of(backup))
    with pytest.raises(Fault) as caught:
        delete_now(backup.snapshots.get())
    assert caught.value.kind is FaultKind.LOCKED
    assert (caught.value.operation, caught.value.code) == (DELETE, "InvalidSnapshot.InUse")
    snapshot = backup.snapshots.get()
    assert (snapshot.status, snapshot.delete_requested_at) == (SnapshotStatus.SUCCEEDED, None)
    assert open_alerts() == set()


def test_a_lost_answer_is_asked_for_again(world: World) -> None:
    backup = backup_of(world)
    world.simulator.faults([{"op": DELETE, "kind": "lost", "times": 1}])
    delete_now(backup.snapshots.get())
    assert in_aws(world) == set()
    assert outcome(backup) == BackupOutcome.DELETED


def test_a_deletion_whose_caller_dies_is_finished_by_cleanup(world: World) -> None:
    backup = backup_of(world)
    snapshot = backup.snapshots.get()
    deletions.claim(snapshot)
    deletions.delete_in_aws(snapshot)
    cleanup.run()
    world.drain()
    assert outcome(backup) == BackupOutcome.DELETED


# --- in the background ---------------------------------------------------------------------------


def test_a_record_whose_snapshots_are_deleted_stays_and_says_so(world: World) -> None:
    backup, other = backup_of(world, volumes=3), backup_of(world)
    delete(world, deletions.of_backup(backup))
    assert outcome(backup) == BackupOutcome.DELETED
    assert in_aws(world) == refs_of(other)
    assert log_of(backup).count("snapshot_deleted") == 3


def test_a_record_is_deleted_only_when_its_last_snapshot_is(world: World) -> None:
    backup = backup_of(world, volumes=2)
    images = use(world, [min(refs_of(backup))])
    delete(world, deletions.of_backup(backup))
    assert len(in_aws(world)) == 1
    assert outcome(backup) == BackupOutcome.SUCCEEDED
    drop(world, images)
    cleanup.run()
    world.drain()
    assert outcome(backup) == BackupOutcome.DELETED


def test_naming_a_frozen_record_gives_it_up_and_naming_its_policy_does_not(world: World) -> None:
    backup = backup_of(world)
    policy = backup.policy
    assert policy is not None
    freeze(backup)
    other = world.backup(policy)
    delete(world, deletions.of_policy(policy))
    assert in_aws(world) == refs_of(backup)
    assert outcome(other) == BackupOutcome.DELETED
    delete(world, deletions.of_account(world.account))
    assert in_aws(world) == refs_of(backup)
    delete(world, deletions.of_backup(backup))
    assert in_aws(world) == set()


def test_an_account_loses_what_it_holds_and_others_nothing(world: World) -> None:
    other = make_world(world.simulator)
    mine = [backup_of(world), backup_of(world, volumes=2)]
    theirs = backup_of(other)
    delete(world, deletions.of_account(world.account))
    assert in_aws(world) == set()
    assert in_aws(other) == refs_of(theirs)
    assert {outcome(backup) for backup in mine} == {BackupOutcome.DELETED}


def test_what_is_gone_already_is_deleted(world: World) -> None:
    backup = backup_of(world)
    world.ec2().delete_snapshot(SnapshotId=refs_of(backup).pop())
    delete(world, deletions.of_backup(backup))
    assert outcome(backup) == BackupOutcome.DELETED
    assert open_alerts() == set()


def test_asking_twice_deletes_once(world: World) -> None:
    backup = backup_of(world, volumes=2)
    for _ in range(2):
        deletions.request(deletions.of_backup(backup))
    world.drain()
    assert world.simulator.counts()[DELETE] == 2
    assert Operation.objects.filter(snapshot__isnull=False).count() == 2


def test_trouble_that_passes_is_waited_out(world: World) -> None:
    backup = backup_of(world)
    world.simulator.faults(
        [
            {"op": DELETE, "kind": "503", "times": 2},
            {"op": DELETE, "kind": "lost", "times": 1},
        ]
    )
    delete(world, deletions.of_backup(backup))
    assert outcome(backup) == BackupOutcome.DELETED
    assert open_alerts() == set()


# --- refusals ------------------------------------------------------------------------------------


def test_refusals_are_one_alert_which_ends_when_cleanup_succeeds(world: World) -> None:
    backup = backup_of(world, volumes=3)
    images = use(world, refs_of(backup))
    delete(world, deletions.of_backup(backup))
    cause = refusal_cause(backup.snapshots.all()[0])
    alert = Alert.objects.get(cause=cause)
    assert alert.count == 3
    refused = Event.objects.filter(backup=backup, code="snapshot_not_deleted")
    assert sorted(event.values["snapshot"] for event in refused) == sorted(refs_of(backup))
    told = Event.objects.filter(stream=Stream.CLEANUP, code="record_not_emptied")
    assert [event.values["record"] for event in told] == [backup.pk]

    drop(world, images[:2])
    cleanup.run()
    world.drain()
    assert len(in_aws(world)) == 1
    assert cause in open_alerts()
    assert told.count() == 1

    drop(world, images[2:])
    cleanup.run()
    world.drain()
    assert in_aws(world) == set()
    assert cause not in open_alerts()
    assert outcome(backup) == BackupOutcome.DELETED


def test_cleanup_comes_round_by_itself(world: World) -> None:
    backup = backup_of(world)
    images = use(world, refs_of(backup))
    delete(world, deletions.of_backup(backup))
    drop(world, images)
    world.pass_time(timedelta(hours=5))
    assert in_aws(world) == refs_of(backup)
    world.pass_time(timedelta(hours=2))
    world.drain()
    assert in_aws(world) == set()


def test_a_refusal_that_passes_in_minutes_is_no_alert(world: World) -> None:
    backup = backup_of(world)
    images = use(world, refs_of(backup))
    deletions.request(deletions.of_backup(backup))
    world.work()
    drop(world, images)
    world.drain()
    assert in_aws(world) == set()
    assert open_alerts() == set()


# --- discarded records ---------------------------------------------------------------------------


def test_a_discarded_record_vanishes_with_its_snapshots(world: World) -> None:
    backup = backup_of(world, volumes=2)
    deletions.discard(backup)
    backup.refresh_from_db()
    assert backup.discarded_at is not None
    world.drain()
    assert in_aws(world) == set()
    assert not Backup.objects.exists()
    assert not Snapshot.objects.exists()


def test_a_discarded_record_waits_for_what_aws_refuses(world: World) -> None:
    backup = backup_of(world, volumes=2)
    images = use(world, [min(refs_of(backup))])
    deletions.discard(backup)
    world.drain()
    assert Backup.objects.get().discarded_at is not None
    assert len(open_alerts()) == 1
    drop(world, images)
    cleanup.run()
    world.drain()
    assert not Backup.objects.exists()
    assert open_alerts() == set()


def test_a_discarded_record_without_snapshots_vanishes_at_once(world: World) -> None:
    gone = world.volume()
    policy = world.policy(volume_target(gone))
    world.ec2().delete_volume(VolumeId=gone)
    deletions.discard(world.backup(policy))
    assert not Backup.objects.exists()


# --- what is kept --------------------------------------------------------------------------------


def test_what_a_running_recovery_needs_is_kept(world: World) -> None:
    backup = backup_of(world, volumes=2)
    policy = backup.policy
    assert policy is not None
    needed, free = backup.snapshots.order_by("pk")
    world.simulator.faults([{"op": "ec2:CreateVolume", "kind": "503"}])
    recovery = recover(needed)
    world.work()
    with pytest.raises(deletions.Kept, match="a recovery needs it"):
        deletions.claim(needed)
    for choices in (
        deletions.of_backup(backup),
        deletions.of_policy(policy),
        deletions.of_account(world.account),
    ):
        kept = {choice.snapshot: choice.kept_because for choice in choices}
        assert kept == {needed: "a recovery needs it", free: None}
    deletions.request(deletions.of_policy(policy))
    world.work()
    assert in_aws(world) == {needed.aws_ref}

    world.simulator.faults([])
    world.drain()
    recovery.refresh_from_db()
    assert recovery.outcome == RecoveryOutcome.SUCCEEDED
    delete(world, deletions.of_policy(policy))
    assert in_aws(world) == set()


def test_a_recovery_that_starts_between_choosing_and_asking_keeps_what_it_needs(
    world: World,
) -> None:
    backup = backup_of(world)
    choices = deletions.of_backup(backup)
    recovery = recover(backup.snapshots.get())
    assert deletions.request(choices) == 0
    world.drain()
    recovery.refresh_from_db()
    assert recovery.outcome == RecoveryOutcome.SUCCEEDED
    assert in_aws(world) == refs_of(backup)


def test_no_recovery_starts_from_what_is_being_deleted(world: World) -> None:
    backup = backup_of(world)
    deletions.request(deletions.of_backup(backup))
    with pytest.raises(recoveries.SnapshotGone):
        recover(backup.snapshots.get())


def test_a_backup_under_way_keeps_its_snapshots(world: World) -> None:
    policy = world.policy(volume_target(world.volume()))
    world.simulator.config(pending=100_000)
    backup = tick.run_now(policy)
    world.work()
    for choices in (deletions.of_policy(policy), deletions.of_backup(backup)):
        assert [choice.kept_because for choice in choices] == ["its backup is under way"]
        assert deletions.request(choices) == 0
    world.simulator.finish()
    world.drain()
    assert outcome(backup) == BackupOutcome.SUCCEEDED


def test_a_dry_run_touches_nothing(world: World) -> None:
    frozen, backup = backup_of(world), backup_of(world, volumes=2)
    freeze(frozen)
    before = rows()
    world.simulator.reset_counts()
    choices = deletions.of_account(world.account)
    reasons = sorted(str(choice.kept_because) for choice in choices)
    assert reasons == ["None", "None", "its backup is frozen"]
    assert {each.snapshot.aws_ref for each in choices if not each.kept_because} == refs_of(backup)
    world.work()
    assert rows() == before
    assert world.simulator.counts() == {}
    assert live_snapshots().count() == 3


def rows() -> list[list[Any]]:
    """All that a deletion could have changed."""
    return [
        list(rows.values_list())
        for rows in (
            Snapshot.objects.order_by("pk"),
            Backup.objects.order_by("pk"),
            Operation.objects.order_by("pk"),
        )
    ]
