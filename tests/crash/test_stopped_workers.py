"""Workers are told to stop while they have much to ask AWS for; whoever comes next asks for it."""

from pathlib import Path

from cpm.engine import deletions
from cpm.models.operations import Operation, OperationPhase
from tests.crash.processes import Fleet, a_fleet
from tests.crash.stories import check_quiet, is_over
from tests.crash.time import TimedWorld
from tests.engine.world import volume_target

VOLUMES = 8
DELETE = "ec2:DeleteSnapshot"


def test_a_worker_that_is_told_to_stop_leaves_what_it_has_not_asked_for_to_the_next(
    world: TimedWorld, database_url: str, tmp_path: Path
) -> None:
    volumes = [world.volume() for _ in range(VOLUMES)]
    backup = world.backup(world.policy(*map(volume_target, volumes)))
    deletions.request(deletions.of_backup(backup))
    with a_fleet(world, tmp_path, database_url) as fleet:
        fleet.world.simulator.faults([{"op": DELETE, "kind": "delay", "seconds": 1}])
        world.simulator.reset_counts()
        worker = fleet.worker()
        fleet.wait_for(lambda: asked(fleet) > 0, time_passes=False)
        worker.terminate()
        worker.wait()
        assert asked(fleet) < VOLUMES
        assert not Operation.objects.filter(phase=OperationPhase.STARTING).exists()

        fleet.world.simulator.faults([])
        fleet.worker()
        fleet.wait_for(lambda: asked(fleet) == VOLUMES and is_over())
    assert world.snapshots_in_aws() == []
    check_quiet()


def asked(fleet: Fleet) -> int:
    """How often AWS has been asked to delete a snapshot."""
    return fleet.world.simulator.counts().get(DELETE, 0)
