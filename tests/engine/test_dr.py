"""Copies in other regions: when runs get them, and what becomes of these."""

from datetime import timedelta
from typing import Any

import pytest

from cpm.aws import tags
from cpm.engine import closing, deletions, dr, tick, turns
from cpm.kernel import clock, regions
from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupOutcome, CopyStatus
from cpm.models.dr_copies import DrCopy, DrCopyPhase
from cpm.models.operations import Operation, OperationPhase
from cpm.models.policies import Policy
from cpm.models.snapshots import Snapshot, SnapshotStatus
from tests.engine.world import (
    OTHER_REGION,
    REGION,
    World,
    at_once,
    instance_target,
    log_of,
    open_alerts,
    volume_target,
)

COPY, ASK = "ec2:CopySnapshot", "ec2:CreateSnapshot"
THIRD_REGION = "eu-central-1"


def ids(*names: str) -> list[int]:
    found = [regions.by_name(name) for name in names]
    return [region.id for region in found if region is not None]


def dr_policy(world: World, *targets: Any, **columns: Any) -> Policy:
    """A policy whose snapshots are copied to another region."""
    columns = {"dr_enabled": True, "dr_regions": ids(OTHER_REGION), **columns}
    return world.policy(*(targets or [volume_target(world.volume())]), **columns)


def copies_of(backup: Backup) -> list[Snapshot]:
    return list(Snapshot.objects.filter(backup=backup, collection="dr_volumes").order_by("pk"))


def in_aws(world: World, region: str = OTHER_REGION) -> dict[str, Any]:
    return {each["SnapshotId"]: each for each in world.snapshots_in_aws(region)}


def statuses(policy: Policy) -> str:
    """The letters of the DR of the policy's records, oldest first."""
    return "".join(policy.backups.order_by("pk").values_list("dr_status", flat=True))


def fail_copies(world: World, kind: str = "denied", **rule: Any) -> None:
    world.simulator.faults([{"op": COPY, "kind": kind, **rule}])


class TestCopies:
    """What a copy is."""

    def test_every_snapshot_has_one_in_the_other_region(self, world: World) -> None:
        (instance_id,) = world.seed(instances=1, volumes_per=2)["instances"]
        policy = dr_policy(world, instance_target(instance_id), volume_target(world.volume()))
        backup = world.backup(policy)
        assert (backup.outcome, backup.dr_status) == (BackupOutcome.SUCCEEDED, CopyStatus.SUCCEEDED)
        assert backup.dr_finished_at is not None
        originals = Snapshot.objects.filter(backup=backup, collection="volumes")
        copies = copies_of(backup)
        assert {copy.source_snapshot_id for copy in copies} == {each.pk for each in originals}
        assert {copy.aws_ref for copy in copies} == set(in_aws(world))
        for copy in copies:
            original = copy.source_snapshot
            assert original is not None
            assert (copy.status, copy.region, copy.account) == ("S", OTHER_REGION, world.account)
            for name in ("resource_id", "resource_name", "instance_id", "volume_device"):
                assert getattr(copy, name) == getattr(original, name)
            assert copy.size_gib == original.size_gib
            assert copy.facts["tags"] == original.facts["tags"]

    def test_it_carries_the_marks_and_the_tags_of_the_volume(self, world: World) -> None:
        (volume_id,) = world.seed(standalone=1, tags={"team": "red"})["standalone"]
        backup = world.backup(dr_policy(world, volume_target(volume_id)))
        (copy,) = in_aws(world).values()
        carried = tags.from_aws(copy["Tags"])
        (step,) = backup.operations.filter(effect="copy_snapshot")
        assert carried[tags.TOKEN] == str(step.token)
        assert carried[tags.BACKUP_ID] == str(backup.pk)
        assert carried[tags.POLICY_NAME] == backup.policy_name
        assert carried["team"] == "red"
        assert volume_id in copy["Description"]

    def test_an_encrypted_one_is_encrypted_with_the_key_of_its_region(self, world: World) -> None:
        made = world.ec2().create_volume(AvailabilityZone=f"{REGION}a", Size=1, Encrypted=True)
        backup = world.backup(dr_policy(world, volume_target(made["VolumeId"])))
        (copy,) = in_aws(world).values()
        assert copy["Encrypted"]
        assert OTHER_REGION in copy["KmsKeyId"]
        assert copies_of(backup)[0].encrypted

    def test_each_target_gets_one_and_the_own_region_none(self, world: World) -> None:
        policy = dr_policy(world, dr_regions=ids(OTHER_REGION, REGION, THIRD_REGION))
        backup = world.backup(policy)
        assert {copy.region for copy in copies_of(backup)} == {OTHER_REGION, THIRD_REGION}
        assert len(in_aws(world, REGION)) == 1

    def test_where_only_the_own_region_is_named_there_is_no_dr(self, world: World) -> None:
        backup = world.backup(dr_policy(world, dr_regions=ids(REGION)))
        assert backup.dr_status == CopyStatus.NONE
        assert not DrCopy.objects.exists()

    def test_the_log_tells_what_happens(self, world: World) -> None:
        backup = world.backup(dr_policy(world))
        assert log_of(backup)[-4:] == [
            *("backup_succeeded", "dr_started", "copy_step_started", "dr_succeeded")
        ] or log_of(backup)[-4:] == [
            *("dr_started", "copy_step_started", "dr_succeeded", "backup_succeeded")
        ]


class TestFrequency:
    """Which runs are copied."""

    def test_the_first_success_and_every_nth_after_it(self, world: World) -> None:
        policy = dr_policy(world, dr_frequency=3)
        for _ in range(5):
            world.backup(policy)
        assert statuses(policy) == "SNNSN"

    def test_a_run_that_failed_does_not_count(self, world: World) -> None:
        policy = dr_policy(world, dr_frequency=2)
        world.backup(policy)
        world.simulator.faults([{"op": ASK, "kind": "denied", "times": None}])
        world.backup(policy)
        world.simulator.faults([])
        world.backup(policy)
        world.backup(policy)
        assert statuses(policy) == "SNNS"

    def test_what_a_partial_run_has_is_copied_and_the_next_run_all_the_same(
        self, world: World
    ) -> None:
        good, bad = world.volume(), world.volume()
        policy = dr_policy(world, volume_target(good), volume_target(bad), dr_frequency=2)
        world.simulator.config(fail=[bad])
        partial = world.backup(policy)
        world.simulator.config(fail=[])
        assert partial.outcome == BackupOutcome.PARTIAL
        assert [copy.resource_id for copy in copies_of(partial)] == [good]
        world.backup(policy)
        world.backup(policy)
        assert statuses(policy) == "SSN"

    def test_a_run_is_copied_when_its_retries_are_over(self, world: World) -> None:
        good, bad = world.volume(), world.volume()
        policy = dr_policy(
            world, volume_target(good), volume_target(bad), retry_count=1, retry_wait_minutes=10
        )
        world.simulator.config(fail=[bad])
        first = world.backup(policy)
        world.simulator.config(fail=[])
        assert first.dr_status == CopyStatus.NONE
        world.pass_time(timedelta(minutes=30))
        second = policy.backups.order_by("pk").last()
        assert second is not None
        assert statuses(policy) == "SS"
        assert [copy.resource_id for copy in copies_of(first)] == [good]
        assert [copy.resource_id for copy in copies_of(second)] == [bad]
        carried = [tags.from_aws(copy["Tags"])[tags.BACKUP_ID] for copy in in_aws(world).values()]
        assert sorted(carried) == sorted([str(first.pk), str(second.pk)])

    def test_without_dr_there_is_none(self, world: World) -> None:
        backup = world.backup(dr_policy(world, dr_enabled=False))
        assert backup.dr_status == CopyStatus.NONE


class TestFailures:
    """What goes wrong is told, and leaves nothing behind."""

    def test_a_copy_that_aws_refuses_has_failed_in_its_words(self, world: World) -> None:
        fail_copies(world)
        policy = dr_policy(world)
        backup = world.backup(policy)
        assert (backup.outcome, backup.dr_status) == (BackupOutcome.SUCCEEDED, CopyStatus.FAILED)
        (copy,) = copies_of(backup)
        assert copy.status == SnapshotStatus.FAILED
        assert "ec2:CopySnapshot UnauthorizedOperation" in copy.error
        assert log_of(backup)[-2:] == ["copy_failed", "dr_failed"]
        assert open_alerts() == {f"policy:{policy.pk}:dr"}
        world.simulator.faults([])
        world.backup(policy)
        assert open_alerts() == set()

    def test_a_copy_that_ends_in_error_is_removed(self, world: World) -> None:
        good, bad = world.volume(), world.volume()
        policy = dr_policy(world, volume_target(good), volume_target(bad))
        backup = tick.run_now(policy)
        _until_copying(world, backup)
        world.simulator.config(fail=[copy.aws_ref for copy in copies_of(backup)][1:])
        world.simulator.finish()
        world.drain()
        backup.refresh_from_db()
        assert backup.dr_status == CopyStatus.PARTIAL
        (kept, gone) = copies_of(backup)
        assert (kept.status, gone.status, gone.aws_ref) == ("S", "F", "")
        assert set(in_aws(world)) == {kept.aws_ref}
        assert open_alerts() == {f"policy:{policy.pk}:dr"}

    def test_a_copy_that_is_not_complete_in_time_is_given_up_and_removed(
        self, world: World
    ) -> None:
        backup = tick.run_now(dr_policy(world, dr_timeout_hours=2))
        _until_copying(world, backup)
        for hours, status in ((1.9, CopyStatus.IN_PROGRESS), (0.2, CopyStatus.FAILED)):
            world.move_to(clock.now() + timedelta(hours=hours))
            world.pass_time(timedelta(minutes=1))
            backup.refresh_from_db()
            assert backup.dr_status == status
        world.simulator.finish()
        assert "copy_abandoned" in log_of(backup)
        assert in_aws(world) == {}
        assert len(in_aws(world, REGION)) == 1

    @pytest.mark.parametrize("kind", ["lost", "drop", "500", "503", "throttle"])
    def test_a_call_without_an_answer_makes_one_copy(self, world: World, kind: str) -> None:
        fail_copies(world, kind, times=1)
        backup = world.backup(dr_policy(world))
        assert backup.dr_status == CopyStatus.SUCCEEDED
        assert [copy.aws_ref for copy in copies_of(backup)] == list(in_aws(world))

    def test_while_aws_is_away_copies_wait(self, world: World) -> None:
        fail_copies(world, "503", times=5)
        assert world.backup(dr_policy(world)).dr_status == CopyStatus.SUCCEEDED


class TestLimit:
    """AWS makes a few copies at a time; the others wait without being asked for."""

    def test_no_more_are_asked_for_than_aws_makes_at_once(self, world: World) -> None:
        volumes = world.seed(standalone=45)["standalone"]
        policy = dr_policy(world, *map(volume_target, volumes))
        backup = tick.run_now(policy)
        _until_copying(world, backup)
        asked = world.simulator.counts()
        assert asked[COPY] == 20
        world.pass_time(timedelta(minutes=10))
        assert world.simulator.counts()[COPY] == 20
        for done in (20, 40):
            world.simulator.finish()
            world.pass_time(timedelta(minutes=5))
            assert world.simulator.counts()[COPY] == min(done + 20, 45)
        world.simulator.finish()
        world.drain()
        backup.refresh_from_db()
        assert backup.dr_status == CopyStatus.SUCCEEDED
        assert len(in_aws(world)) == 45
        assert log_of(backup).count("copies_queued") == 1
        assert "limit_reached" not in log_of(backup)

    def test_those_that_are_over_are_settled_together_and_the_last_at_once(
        self, world: World
    ) -> None:
        volumes = world.seed(standalone=21)["standalone"]
        backup = tick.run_now(dr_policy(world, *map(volume_target, volumes)))
        _until_copying(world, backup)
        settled = backup.dr_copies.filter(phase=DrCopyPhase.CLOSED)
        copied = Operation.objects.filter(dr_copy__backup=backup, phase=OperationPhase.CLOSED)
        world.simulator.finish()
        while not copied.exists():
            assert world.next_look()
            world.work()
        assert (copied.count(), settled.count()) == (20, 0)
        world.pass_time(timedelta(seconds=15))
        assert settled.count() == 20
        world.simulator.finish()
        while copied.count() < 21:
            assert world.next_look()
            world.work()
        backup.refresh_from_db()
        assert backup.dr_status == CopyStatus.SUCCEEDED

    def test_accounts_that_are_one_in_aws_share_its_limit(self, world: World) -> None:
        first, second = (
            dr_policy(world, *map(volume_target, world.seed(standalone=15)["standalone"]))
            for _ in range(2)
        )
        again = Account.objects.get(pk=world.account.pk)
        again.pk, again.name = None, "again"
        again.save(force_insert=True)
        Policy.objects.filter(pk=second.pk).update(account=again)
        _until_copying(world, tick.run_now(first))
        # Only copies take their time.
        world.simulator.config(pending=0)
        tick.run_now(Policy.objects.get(pk=second.pk))
        world.work()
        world.simulator.config(pending=100_000)
        world.pass_time(timedelta(minutes=10))
        copying = Operation.objects.filter(phase=OperationPhase.STARTED, dr_copy__isnull=False)
        assert (copying.count(), copying.filter(account=again).count()) == (20, 5)

    def test_those_who_make_room_at_the_same_time_call_up_no_more_than_there_is(
        self, world: World
    ) -> None:
        volumes = world.seed(standalone=30)["standalone"]
        backup = tick.run_now(dr_policy(world, *map(volume_target, volumes)))
        _until_copying(world, backup)
        waiting = Operation.objects.filter(dr_copy__backup=backup, waits_for_turn=True)
        queues = turns.queues_of(waiting)
        at_once(4, lambda: turns.call_up(queues))
        assert waiting.all().count() == 10
        closing.fail(Operation.objects.filter(phase=OperationPhase.STARTED)[0], "gone")
        at_once(4, lambda: turns.call_up(queues))
        assert waiting.all().count() == 9

    def test_one_that_nobody_calls_up_looks_for_itself(self, world: World) -> None:
        backup = tick.run_now(dr_policy(world))
        world.simulator.faults([{"op": COPY, "kind": "throttle", "times": None}])
        copying = Operation.objects.filter(dr_copy__backup=backup)
        while not copying.exists():
            world.work()
            assert world.next_look()
        copying.update(waits_for_turn=True, due_at=clock.now() + turns.FORGOTTEN)
        world.simulator.faults([])
        world.drain()
        backup.refresh_from_db()
        assert backup.dr_status == CopyStatus.SUCCEEDED

    def test_where_others_use_the_limit_up_copies_wait_and_say_so(self, world: World) -> None:
        own = world.ec2().create_snapshot(VolumeId=world.volume())["SnapshotId"]
        policy = dr_policy(world)
        backup = tick.run_now(policy)
        world.simulator.config(pending=100_000, limits={"copies": 1})
        world.ec2(OTHER_REGION).copy_snapshot(SourceRegion=REGION, SourceSnapshotId=own)
        world.simulator.config(pending=0)
        while "limit_reached" not in log_of(backup):
            assert world.next_look()
            world.work()
        world.simulator.finish()
        world.drain()
        world.simulator.config(limits={"copies": 20})
        backup.refresh_from_db()
        assert backup.dr_status == CopyStatus.SUCCEEDED


class TestOriginals:
    """Originals go when they are not to be kept beside their copies."""

    def test_an_original_goes_once_all_its_copies_are_complete(self, world: World) -> None:
        policy = dr_policy(world, dr_keeps_originals=False)
        backup = world.backup(policy)
        assert in_aws(world, REGION) == {}
        assert set(in_aws(world)) == {copy.aws_ref for copy in copies_of(backup)}
        backup.refresh_from_db()
        assert (backup.outcome, backup.dr_status) == (BackupOutcome.SUCCEEDED, CopyStatus.SUCCEEDED)
        assert "original_goes" in log_of(backup)

    def test_one_whose_copy_has_failed_stays(self, world: World) -> None:
        fail_copies(world, region=THIRD_REGION)
        policy = dr_policy(
            world, dr_keeps_originals=False, dr_regions=ids(OTHER_REGION, THIRD_REGION)
        )
        backup = world.backup(policy)
        assert backup.dr_status == CopyStatus.PARTIAL
        assert len(in_aws(world, REGION)) == 1

    def test_one_of_a_frozen_record_stays(self, world: World) -> None:
        backup = tick.run_now(dr_policy(world, dr_keeps_originals=False))
        _until_copying(world, backup)
        Backup.objects.filter(pk=backup.pk).update(is_frozen=True)
        world.simulator.finish()
        world.drain()
        assert len(in_aws(world, REGION)) == 1


class TestRetention:
    """Records with copies are generations when these are complete, and go as a whole."""

    def test_copies_of_expired_records_go_too(self, world: World) -> None:
        policy = dr_policy(world, generations=1)
        old, new = world.backup(policy), world.backup(policy)
        world.drain()
        old.refresh_from_db()
        assert (old.outcome, old.dr_status) == (BackupOutcome.DELETED, CopyStatus.DELETED)
        assert set(in_aws(world)) == {copy.aws_ref for copy in copies_of(new)}

    def test_a_record_whose_copies_are_missing_pushes_nothing_out(self, world: World) -> None:
        policy = dr_policy(world, generations=1)
        world.backup(policy)
        fail_copies(world)
        world.backup(policy)
        world.drain()
        assert len(in_aws(world, REGION)) == 2
        assert len(in_aws(world)) == 1
        assert f"policy:{policy.pk}:no_success" in open_alerts()

    def test_nothing_is_deleted_while_copies_are_made_of_it(self, world: World) -> None:
        policy = dr_policy(world, generations=1)
        backup = tick.run_now(policy)
        _until_copying(world, backup)
        choices = deletions.of_policy(policy)
        assert {choice.kept_because for choice in choices} == {"copies of its backup are under way"}
        assert deletions.request(choices) == 0

    def test_a_record_says_when_none_of_its_copies_is_left(self, world: World) -> None:
        backup = world.backup(dr_policy(world))
        copies = Snapshot.objects.filter(backup=backup, collection="dr_volumes")
        deletions.request(deletions.choose(copies))
        world.drain()
        backup.refresh_from_db()
        assert (backup.outcome, backup.dr_status) == (BackupOutcome.SUCCEEDED, CopyStatus.DELETED)
        assert in_aws(world) == {}


def test_a_policy_that_is_deleted_meanwhile_leaves_its_copies_in_peace(world: World) -> None:
    policy = dr_policy(world)
    backup = tick.run_now(policy)
    _until_copying(world, backup)
    policy.delete()
    world.simulator.finish()
    world.drain()
    backup.refresh_from_db()
    assert backup.dr_status == CopyStatus.SUCCEEDED


def test_the_next_run_need_not_wait_for_the_copies_of_the_last(world: World) -> None:
    policy = dr_policy(world)
    first = tick.run_now(policy)
    _until_copying(world, first)
    second = tick.run_now(policy)
    world.simulator.config(pending=0)
    world.simulator.finish()
    world.drain()
    for backup in (first, second):
        backup.refresh_from_db()
        assert backup.dr_status == CopyStatus.SUCCEEDED


def test_copies_at_which_our_own_code_fails_are_ended(world: World) -> None:
    backup = tick.run_now(dr_policy(world))
    _until_copying(world, backup)
    dr.give_up(backup.pk)
    world.simulator.finish()
    world.drain()
    backup.refresh_from_db()
    assert backup.dr_status == CopyStatus.FAILED
    assert in_aws(world) == {}


def _until_copying(world: World, backup: Backup) -> None:
    """Back up; then let AWS take its time over as many copies as it makes at once."""
    world.simulator.config(pending=100_000)
    under_way = Operation.objects.filter(dr_copy__backup=backup, phase=OperationPhase.STARTED)
    world.work()
    while not under_way.exists():
        world.simulator.finish()
        assert world.next_look()
        world.work()
