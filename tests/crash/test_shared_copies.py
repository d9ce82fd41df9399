"""Several processes share one copy's ranges; any of them may be killed, or told to stop."""

import signal
from pathlib import Path

from cpm.engine import tick
from cpm.models.backups import Backup, CopyStatus
from cpm.models.s3_copies import S3CopyRange
from tests.crash.processes import HANG, a_fleet, die_at
from tests.crash.stories import check_quiet, is_over
from tests.crash.time import TimedWorld
from tests.engine.archiving import Vault, copies_of, in_ebs, s3_policy, volume, write
from tests.engine.world import volume_target

# Of pages 0 to 3, and of 4.
FIRST, SECOND = 0, 4 * 4096


def test_a_copy_outlives_the_workers_that_share_it(
    world: TimedWorld, database_url: str, tmp_path: Path
) -> None:
    vault = Vault.of(world)
    source = volume(world, size_gib=9, blocks=2)
    write(world, source, start=SECOND, count=2, seed=3)
    backup = tick.run_now(s3_policy(vault, volume_target(source)))
    while not S3CopyRange.objects.exists():
        world.step()
    assert S3CopyRange.objects.count() == 2
    with a_fleet(world, tmp_path, database_url, CPM_ARCHIVE_CONCURRENCY="1") as fleet:
        die_at(fleet, "ebs:GetSnapshotBlock", HANG)
        die_at(fleet, "s3:PutObject", HANG)
        world.simulator.faults([])
        movers = [fleet.start("worker", "--queues", "archive") for _ in range(2)]
        fleet.wait_for(lambda: not S3CopyRange.objects.filter(is_done=False).exists())
        for mover in movers:
            mover.send_signal(signal.SIGTERM)
            assert mover.wait(60) == 0
        assert S3CopyRange.objects.filter(is_done=True).count() == 2
        fleet.worker()
        fleet.wait_for(lambda: status_of(backup) != CopyStatus.IN_PROGRESS and is_over())
    world.drain()
    check_quiet()
    assert status_of(backup) == CopyStatus.SUCCEEDED
    (copy,) = copies_of(backup)
    (original,) = backup.snapshots.filter(collection="volumes")
    assert vault.blocks(copy) == in_ebs(world, original.aws_ref, 9)
    assert set(vault.blocks(copy)) == {FIRST, FIRST + 1, SECOND, SECOND + 1}


def status_of(backup: Backup) -> str:
    backup.refresh_from_db()
    return backup.s3_status
