"""Workers are killed while they move data; whoever comes next goes on where they were."""

from pathlib import Path
from typing import Any

from cpm.archive import packs
from cpm.archive.repository import Repository
from cpm.engine import tick
from cpm.models.backups import Backup
from cpm.models.s3_copies import S3CopyRange
from cpm.models.snapshots import Snapshot, SnapshotStatus
from tests.crash.processes import HANG, Fleet, a_fleet, kill
from tests.crash.restore_stories import SnapshotFromS3Story
from tests.crash.stories import check_quiet, is_over
from tests.crash.time import TimedWorld
from tests.engine.archiving import GET, Vault, calls, copies_of, in_ebs, s3_policy, volume
from tests.engine.world import volume_target

# Some more than a pack has, of what does not compress.
BLOCKS = 70
STORE = "s3:PutObject"
PUT = "ebs:PutSnapshotBlock"


def test_a_copy_killed_before_it_hears_of_what_is_stored_has_stored_one_pack_in_vain(
    world: TimedWorld, database_url: str, tmp_path: Path
) -> None:
    vault = Vault.of(world)
    begin(world, vault, 2 * BLOCKS)
    with a_fleet(world, tmp_path, database_url, CPM_ARCHIVE_CONCURRENCY="1") as fleet:
        world.simulator.faults([{"op": STORE, "kind": "lost", "times": 1_000}])
        world.simulator.reset_counts()
        worker = fleet.worker()
        # All is read, both packs are on their way, and what is stored is stored again and again.
        fleet.wait_for(lambda: calls(world, GET) == [2 * BLOCKS], time_passes=False)
        (before,) = calls(world, STORE)
        fleet.wait_for(lambda: calls(world, STORE)[0] > before + 1, time_passes=False)
        kill(worker)
    assert S3CopyRange.objects.get().block == 0
    assert len(vault.keys("packs/")) == 1


def test_a_killed_copy_costs_a_pack_at_most_and_what_comes_back_is_the_same(
    world: TimedWorld, database_url: str, tmp_path: Path
) -> None:
    vault = Vault.of(world)
    backup = begin(world, vault, BLOCKS)
    (original,) = backup.snapshots.filter(collection="volumes")
    with a_fleet(world, tmp_path, database_url, CPM_ARCHIVE_CONCURRENCY="1") as fleet:
        meet(fleet, {"op": STORE, "after": 1, **HANG})
        first = fleet.worker()
        fleet.wait_for(lambda: is_met(fleet) and S3CopyRange.objects.get().block > 0)
        kill(first)
        kept = S3CopyRange.objects.get().block
        meet(fleet, {"op": PUT, "after": BLOCKS // 2, **HANG})
        world.simulator.reset_counts()
        second = fleet.worker()
        (copy,) = copies_of(backup)
        fleet.wait_for(lambda: has_succeeded(copy) and is_over())
        assert vault.blocks(copy) == in_ebs(world, original.aws_ref)
        assert world.simulator.counts()[GET] == BLOCKS - kept
        assert len(packs_of(vault.opened(), copy) ^ set(vault.keys("packs/"))) <= 1

        story = SnapshotFromS3Story(world, backup)
        story.ask()
        fleet.wait_for(lambda: is_met(fleet))
        kill(second)
        fleet.worker()
        fleet.wait_for(is_over)
    check_quiet()
    story.check()
    counts = world.simulator.counts()
    assert BLOCKS < counts[PUT] <= 2 * BLOCKS
    assert (counts["ebs:StartSnapshot"], counts["ebs:CompleteSnapshot"]) == (1, 1)


def begin(world: TimedWorld, vault: Vault, blocks: int) -> Backup:
    """A run whose one volume, of so many blocks, is about to be copied."""
    source = volume(world, blocks=0)
    world.simulator.fill(source, {"pattern": "random", "start": 0, "count": blocks})
    backup = tick.run_now(s3_policy(vault, volume_target(source)))
    while not S3CopyRange.objects.exists():
        world.step()
    return backup


def meet(fleet: Fleet, rule: dict[str, Any]) -> None:
    """Let one call meet this."""
    fleet.world.simulator.faults([{**rule, "times": 1}])


def is_met(fleet: Fleet) -> bool:
    """Whether it has."""
    return bool(fleet.world.simulator.get("faults")[0]["times"] == 0)


def has_succeeded(copy: Snapshot) -> bool:
    """Whether it can be recovered from."""
    copy.refresh_from_db()
    return copy.status == SnapshotStatus.SUCCEEDED


def packs_of(archive: Repository, copy: Snapshot) -> set[str]:
    """Those that a copy needs."""
    pages = archive.manifest(copy.aws_ref).pages
    places = [place for found in pages for place in archive.page(found).values()]
    return {packs.name_of(each.pack) for each in [*places, *(page.place for page in pages)]}
