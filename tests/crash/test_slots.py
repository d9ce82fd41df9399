"""Many workers on one database: each slot of a schedule is run once, or told of as skipped."""

from datetime import timedelta
from pathlib import Path

from cpm.aws import tags
from cpm.engine import queue
from cpm.kernel import times
from cpm.models.backups import Backup, BackupOutcome, BackupPhase
from cpm.models.events import Event
from cpm.models.policies import Policy
from cpm.server import ports
from tests.crash.processes import Fleet, a_fleet
from tests.crash.time import TimedWorld
from tests.engine.world import volume_target

POLICIES, MINUTES = 20, 10
SLOTS = POLICIES * MINUTES
# Two of the server's own, and two beside it.
WORKERS = 4


def test_no_slot_runs_twice_whatever_number_of_workers_there_is(
    world: TimedWorld, database_url: str, tmp_path: Path
) -> None:
    volumes = world.seed(standalone=POLICIES)["standalone"]
    policies = [world.policy(volume_target(volume), generations=MINUTES) for volume in volumes]
    for policy in policies:
        world.schedule(policy, every_unit="M", every_how_many=1)
    with a_fleet(world, tmp_path, database_url, CPM_POLL_SECONDS="1") as fleet:
        port = str(ports.claim("127.0.0.1", 0))
        fleet.start("serve", "--bind", "127.0.0.1", "--port", port)
        fleet.worker(concurrency=4)
        fleet.worker(concurrency=4)
        fleet.wait_for(lambda: queue.live_workers() >= WORKERS, time_passes=False)
        for minute in range(1, MINUTES + 1):
            world.shared_clock.move(timedelta(minutes=1))
            _wait_for_decisions(fleet, minute * POLICIES)
            # Now and then the next slot comes while the last is still under way.
            if minute % 3:
                fleet.wait_for(_are_closed, time_passes=False)
        fleet.wait_for(_are_closed)
    check_records(world, policies)


def check_records(world: TimedWorld, policies: list[Policy]) -> None:
    """Every slot has one record, or one line that tells why not; every record one snapshot."""
    assert Backup.objects.count() > SLOTS / 2
    for policy in policies:
        ran = list(policy.backups.values_list("scheduled_at", flat=True))
        events = Event.objects.filter(code="run_skipped", backup__policy=policy)
        skipped = [times.parse(event.values["due"]) for event in events]
        assert len({*ran, *skipped}) == len(ran) + len(skipped) >= MINUTES
    outcomes = set(Backup.objects.values_list("outcome", flat=True))
    assert outcomes == {BackupOutcome.SUCCEEDED}
    made = [tags.from_aws(each["Tags"])[tags.BACKUP_ID] for each in world.snapshots_in_aws()]
    assert sorted(map(int, made)) == sorted(Backup.objects.values_list("pk", flat=True))


def _wait_for_decisions(fleet: Fleet, due: int) -> None:
    skipped = Event.objects.filter(code="run_skipped")
    fleet.wait_for(lambda: Backup.objects.count() + skipped.count() >= due, time_passes=False)


def _are_closed() -> bool:
    return not Backup.objects.exclude(phase=BackupPhase.CLOSED).exists()
