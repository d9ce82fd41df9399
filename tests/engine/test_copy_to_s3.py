"""Copies in S3: when runs get them, that they hold what EBS had, and when they go."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cpm.archive import writer
from cpm.archive.collector import MOST_COPY
from cpm.archive.writer import Subject
from cpm.engine import deletions, s3_progress, tick
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupOutcome, CopyOutcome, CopyStatus
from cpm.models.events import Event
from cpm.models.policies import Policy
from cpm.models.s3_copies import S3Copy, S3CopyRange
from cpm.models.snapshots import Snapshot, SnapshotStatus
from tests.engine.archiving import (
    CHANGED,
    GET,
    LIST,
    Vault,
    calls,
    copies_of,
    in_ebs,
    s3_policy,
    volume,
    write,
)
from tests.engine.conftest import Later
from tests.engine.world import (
    World,
    instance_target,
    log_of,
    open_alerts,
    volume_target,
)


@pytest.fixture
def vault(world: World) -> Vault:
    return Vault.of(world)


def original_of(backup: Backup) -> Snapshot:
    (original,) = backup.snapshots.filter(collection="volumes")
    return original


def statuses(policy: Policy) -> str:
    """The letters of the S3 copies of the policy's records, oldest first."""
    return "".join(policy.backups.order_by("pk").values_list("s3_status", flat=True))


def deny(world: World, **rule: object) -> None:
    world.simulator.faults([{"op": GET, "kind": "denied", **rule}])


class TestCopies:
    def test_a_run_is_in_s3_as_it_is_in_ebs(self, world: World, vault: Vault) -> None:
        source = volume(world, size_gib=3, blocks=6)
        write(world, source, start=4100, count=2, seed=7)
        backup = world.backup(
            s3_policy(vault, volume_target(source), s3_storage_class="GLACIER_IR")
        )
        assert backup.s3_status == CopyStatus.SUCCEEDED
        assert backup.s3_repository == vault.row
        (copy,) = copies_of(backup)
        assert (copy.status, copy.progress_percent) == (SnapshotStatus.SUCCEEDED, 100)
        assert vault.manifests() == [copy.aws_ref]
        assert vault.storage_classes() == {"manifests": "STANDARD", "packs": "GLACIER_IR"}
        assert vault.blocks(copy) == in_ebs(world, original_of(backup).aws_ref, 3)
        assert len(vault.blocks(copy)) == 8
        assert (vault.row.size_bytes, vault.row.aws_region) == (8 * 2**19, "us-east-1")
        assert 0 < vault.row.stored_bytes < vault.row.size_bytes
        assert not S3CopyRange.objects.exists()
        log = [code for code in log_of(backup) if code.startswith("s3_")]
        assert log == ["s3_started", "s3_copy_started", "s3_copy_succeeded", "s3_succeeded"]

    def test_the_next_run_reads_only_what_has_changed(self, world: World, vault: Vault) -> None:
        source = volume(world, blocks=8)
        policy = s3_policy(vault, volume_target(source))
        (before,) = copies_of(world.backup(policy))
        write(world, source, start=2, count=2, seed=9)
        world.simulator.reset_counts()
        second = world.backup(policy)
        assert calls(world, LIST, CHANGED, GET) == [0, 1, 2]
        (after,) = copies_of(second)
        assert vault.blocks(after) == in_ebs(world, original_of(second).aws_ref)
        assert vault.opened().manifest(after.aws_ref).based_on == before.aws_ref
        assert S3Copy.objects.get(snapshot=after).size_bytes == 8 * 2**19

    def test_what_aws_cannot_compare_is_read_and_not_stored_again(
        self, world: World, vault: Vault
    ) -> None:
        source = volume(world, blocks=8)
        policy = s3_policy(vault, volume_target(source))
        first = world.backup(policy)
        write(world, source, start=2, count=1, seed=9)
        world.ec2().delete_snapshot(SnapshotId=original_of(first).aws_ref)
        world.simulator.reset_counts()
        second = world.backup(policy)
        assert second.s3_status == CopyStatus.SUCCEEDED
        assert "s3_reads_all" in log_of(second)
        assert calls(world, LIST, GET)[1] == 8
        (former,), (copy,) = copies_of(first), copies_of(second)
        assert vault.blocks(copy) == in_ebs(world, original_of(second).aws_ref)
        stored = [S3Copy.objects.get(snapshot=each).stored_bytes for each in (former, copy)]
        assert stored[1] < stored[0] / 2

    def test_what_another_volume_has_brought_is_not_stored_again(
        self, world: World, vault: Vault
    ) -> None:
        source, twin = volume(world, blocks=8), volume(world, blocks=0)
        policy = s3_policy(vault, volume_target(source), s3_keep_generations=1)
        world.backup(policy)
        write(world, source, start=6, count=2, seed=9)
        backup = world.backup(policy)
        # The first copy is gone; what the second has in common with it is known all the same.
        world.simulator.write_blocks(twin, 100, world.simulator.read_blocks(source, 0, 8))
        other = world.backup(s3_policy(vault, volume_target(twin)))
        (copy,) = copies_of(other)
        assert vault.blocks(copy) == in_ebs(world, original_of(other).aws_ref)
        assert len(vault.blocks(copy)) == 8
        stored = {each.backup_id: each.stored_bytes for each in S3Copy.objects.all()}
        assert stored[other.pk] < 2_000 < stored[backup.pk]

    def test_a_manifest_says_all_that_it_takes_to_make_everything_anew(
        self, world: World, vault: Vault
    ) -> None:
        (instance_id,) = world.seed(instances=1, volumes_per=2)["instances"]
        backup = world.backup(s3_policy(vault, instance_target(instance_id)))
        copies = copies_of(backup)
        assert len(copies) == len(vault.manifests()) == 2
        manifest = vault.opened().manifest(copies[0].aws_ref)
        assert manifest.volume["id"] == copies[0].resource_id
        assert manifest.volume["VolumeType"] == copies[0].facts["volume_type"]
        assert manifest.instance is not None
        assert manifest.instance["id"] == instance_id
        assert manifest.instance["InstanceType"]
        origin = manifest.origin or {}
        assert origin["backup"] == backup.pk
        assert origin["policy"] == backup.policy_name
        assert origin["account_number"] == world.credentials.account
        assert origin["facts"] == copies[0].facts
        assert origin["target"]["resource_id"] == instance_id

    def test_every_nth_success_is_copied(self, world: World, vault: Vault) -> None:
        policy = s3_policy(vault, volume_target(volume(world, blocks=1)), s3_frequency=2)
        for _ in range(3):
            world.backup(policy)
        assert statuses(policy) == "SNS"

    def test_what_a_volume_costs_does_not_grow_with_their_number(
        self, world: World, vault: Vault
    ) -> None:
        world.backup(s3_policy(vault))  # the first makes the repository
        few, many = (cost_of_copying(world, vault, count) for count in (4, 20))
        assert many.calls == {name: 5 * times for name, times in few.calls.items()}
        assert many.queries < 5 * few.queries
        # How far all of them are is asked now and then, and not whenever one of them is done.
        assert many.looks < few.looks + 8

    def test_what_other_volumes_have_is_read_once_a_minute_and_not_for_each_range(
        self, world: World, vault: Vault
    ) -> None:
        world.backup(s3_policy(vault))  # the index has something
        tick.run_now(s3_policy(vault, volume_target(volume(world, size_gib=33, blocks=1))))
        while not S3CopyRange.objects.exists():
            world.step()
        ranges = S3CopyRange.objects.count()
        began = clock.monotonic()
        with CaptureQueriesContext(connection) as captured:
            world.drain()
        minutes = clock.monotonic() // 60 - began // 60 + 1
        read = [each for each in captured.captured_queries if "string_agg" in each["sql"]]
        assert 0 < len(read) <= minutes
        assert ranges == 5


class TestTrouble:
    def test_a_copy_that_fails_is_tried_again_and_the_next_run_waits_for_it(
        self, world: World, vault: Vault
    ) -> None:
        policy = s3_policy(vault, *(volume_target(volume(world)) for _ in range(2)))
        deny(world, times=1)
        first = tick.run_now(policy)
        work_until(world, first, "s3_copy_refused")
        second = tick.run_now(policy)
        work_until(world, second, "s3_waits")
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.s3_status, second.s3_status) == ("P", "P")
        assert second.s3_started_at is None
        assert re.fullmatch(r"50 %, \d+ MiB/s, about \d+ minutes left", str(s3_progress.of(first)))
        kept = {each.kept_because for each in deletions.of_backup(first)}
        assert kept == {"copies of its backup are under way"}
        world.drain()
        assert statuses(policy) == "SS"
        assert sorted(S3Copy.objects.filter(backup=first).values_list("attempts", flat=True)) == [
            0,
            1,
        ]
        assert progress_of(first)[0] == 50
        originals = set(
            first.snapshots.filter(collection="volumes").values_list("aws_ref", flat=True)
        )
        compared = S3Copy.objects.filter(backup=second).values_list("compared_with", flat=True)
        assert set(compared) == originals

    def test_what_fails_for_good_is_an_alert_until_a_later_copy_succeeds(
        self, world: World, vault: Vault
    ) -> None:
        policy = s3_policy(vault, s3_retry_count=1)
        deny(world)
        backup = world.backup(policy)
        assert backup.s3_status == CopyStatus.FAILED
        (copy,) = copies_of(backup)
        assert (copy.status, copy.aws_ref) == (SnapshotStatus.FAILED, "")
        assert "AccessDenied" in copy.error
        assert open_alerts() == {f"policy:{policy.pk}:s3"}
        world.simulator.faults([])
        world.backup(policy)
        assert statuses(policy) == "FS"
        assert open_alerts() == set()

    def test_a_copy_that_is_not_complete_in_time_is_given_up(
        self, world: World, vault: Vault
    ) -> None:
        policy = s3_policy(vault, s3_retry_count=10, s3_timeout_hours=1)
        deny(world)
        began_at = clock.now()
        backup = world.backup(policy)
        assert backup.s3_status == CopyStatus.FAILED
        (copy,) = copies_of(backup)
        assert copy.error.startswith("it was not complete in time")
        assert (clock.now() - began_at).total_seconds() < 2 * 3600

    def test_a_repository_that_cannot_be_used_fails_the_copy_alone(
        self, world: World, vault: Vault
    ) -> None:
        vault.row.bucket_name = "there-is-no-such-bucket"
        vault.row.save()
        backup = world.backup(s3_policy(vault, s3_retry_count=0))
        assert (backup.outcome, backup.s3_status) == (BackupOutcome.SUCCEEDED, CopyStatus.FAILED)
        assert "NoSuchBucket" in copies_of(backup)[0].error

    def test_a_copy_that_took_longer_than_the_format_allows_begins_anew(
        self, world: World, vault: Vault, later: Later
    ) -> None:
        policy = s3_policy(vault)
        deny(world, times=1)
        backup = tick.run_now(policy)
        work_until(world, backup, "s3_copy_refused")
        copy = S3Copy.objects.get()
        # What it has seen may have been deleted since: by S3's clock a week has passed.
        later(MOST_COPY)
        world.drain()
        began_at = copy.began_at
        copy.refresh_from_db()
        assert copy.outcome == CopyOutcome.SUCCEEDED
        assert began_at is not None
        assert copy.began_at is not None
        assert copy.began_at - began_at >= MOST_COPY
        assert vault.manifests() == [copy.snapshot.aws_ref]
        assert len(vault.blocks(copy.snapshot)) == 4

    def test_a_name_that_others_have_taken_is_left_to_them(
        self, world: World, vault: Vault, later: Later
    ) -> None:
        policy = s3_policy(vault)
        deny(world, times=1)
        backup = tick.run_now(policy)
        work_until(world, backup, "s3_copy_refused")
        copy = S3Copy.objects.select_related("snapshot").get()
        archive, began_at = vault.opened(), copy.began_at
        assert began_at is not None
        about = Subject(snapshot={"id": copy.original_ref}, volume={"id": "vol-1", "size_gib": 1})
        theirs = writer.publish(archive, about, began_at, {})
        later(timedelta(minutes=1))
        world.drain()
        copy.refresh_from_db()
        assert copy.outcome == CopyOutcome.SUCCEEDED
        ours = copies_of(backup)[0]
        assert vault.manifests() == sorted([theirs.name, ours.aws_ref])
        assert archive.manifest(theirs.name) == theirs
        assert len(vault.blocks(ours)) == 4


class TestRetention:
    def test_copies_beyond_the_generations_go_and_others_stay(
        self, world: World, vault: Vault
    ) -> None:
        source = volume(world)
        policy = s3_policy(vault, volume_target(source), s3_keep_generations=2)
        backups = []
        for seed in range(3):
            write(world, source, count=2, seed=seed)
            backups.append(world.backup(policy))
        assert statuses(policy) == "DSS"
        kept = [copies_of(each)[0] for each in backups[1:]]
        assert vault.manifests() == sorted(each.aws_ref for each in kept)
        assert len(vault.keys("retired/")) == 1
        for backup, copy in zip(backups[1:], kept, strict=True):
            assert vault.blocks(copy) == in_ebs(world, original_of(backup).aws_ref)
        vault.row.refresh_from_db()
        assert vault.row.size_bytes == sum(each.s3_copy.size_bytes for each in kept)

    def test_originals_go_when_they_are_not_to_be_kept(self, world: World, vault: Vault) -> None:
        source = volume(world)
        policy = s3_policy(vault, volume_target(source), s3_deletes_originals=True)
        for seed in (3, 4):
            write(world, source, count=1, seed=seed)
            backup = world.backup(policy)
            assert backup.s3_status == CopyStatus.SUCCEEDED
            assert backup.outcome == BackupOutcome.DELETED
            assert world.snapshots_in_aws(cpm_backup_id=str(backup.pk)) == []
        (copy,) = copies_of(backup)
        assert vault.blocks(copy) == in_ebs(world, source)

    def test_a_record_takes_its_copies_along_and_all_snapshots_do_not(
        self, world: World, vault: Vault
    ) -> None:
        policy = s3_policy(vault)
        backups = [world.backup(policy) for _ in range(2)]
        deletions.request(deletions.of_policy(policy))
        world.drain()
        assert outcomes(policy) == ["D", "D"]
        assert len(vault.manifests()) == 2
        deletions.discard(backups[0])
        world.drain()
        assert vault.manifests() == [copies_of(backups[1])[0].aws_ref]
        deletions.request(deletions.of_policy(policy, with_s3=True))
        world.drain()
        assert vault.manifests() == []
        assert list(policy.backups.values_list("pk", "s3_status")) == [(backups[1].pk, "D")]


@dataclass(frozen=True)
class Cost:
    """What it took to copy a run."""

    queries: int
    looks: int
    calls: dict[str, int]


def cost_of_copying(world: World, vault: Vault, count: int) -> Cost:
    """Back up so many empty volumes, and copy that to S3."""
    volumes = world.seed(standalone=count)["standalone"]
    backup = tick.run_now(s3_policy(vault, *map(volume_target, volumes)))
    world.simulator.reset_counts()
    with CaptureQueriesContext(connection) as captured:
        world.drain()
    counts = world.simulator.counts()
    assert S3Copy.objects.filter(backup=backup, outcome=CopyOutcome.SUCCEEDED).count() == count
    statements = [each["sql"] for each in captured.captured_queries]
    looks = [each for each in statements if "JSONB_BUILD_OBJECT" in each]
    calls = {name: times for name, times in counts.items() if not name.startswith("ec2:")}
    return Cost(len(statements), len(looks), calls)


def progress_of(backup: Backup) -> list[int]:
    """The percentages of which the log of the backup tells."""
    told = Event.objects.filter(backup=backup, code="s3_progress").order_by("pk")
    return [each.values["percent"] for each in told]


def outcomes(policy: Policy) -> Sequence[str]:
    return list(policy.backups.order_by("pk").values_list("outcome", flat=True))


def work_until(world: World, backup: Backup, code: str) -> None:
    """Work until the log of the backup says so."""
    for _ in range(50):
        world.work()
        if code in log_of(backup):
            return
        world.next_look()
    raise AssertionError(log_of(backup))
