"""When what AWS keeps is compared with the rows, and at what cost."""

from copy import copy
from datetime import timedelta
from typing import Any

from cpm.aws import tags
from cpm.engine import identity, inventory
from cpm.kernel import clock
from cpm.models.snapshots import Snapshot, SnapshotStatus
from tests.engine.stock import SEE, cleanup_log, take_stock, volumes
from tests.engine.world import OTHER_REGION, REGION, World, refs_of, volume_target


def test_it_comes_round_once_a_day_by_itself(world: World) -> None:
    backup = world.backup(volumes(world))
    world.ec2().delete_snapshot(SnapshotId=refs_of(backup).pop())
    world.pass_time(timedelta(hours=22))
    assert backup.snapshots.get().status == SnapshotStatus.SUCCEEDED
    world.pass_time(timedelta(hours=3))
    assert backup.snapshots.get().status == SnapshotStatus.DELETED


def test_what_exists_is_looked_at_as_often(world: World) -> None:
    volumes(world)
    world.pass_time(timedelta(hours=25))
    world.account.refresh_from_db()
    assert world.account.discovered_at is not None
    assert world.account.discovered_at > clock.now() - timedelta(hours=24)


def test_regions_are_looked_through_one_by_one(world: World) -> None:
    here, there = world.volume(), world.volume(OTHER_REGION)
    backup = world.backup(world.policy(volume_target(here), volume_target(there, OTHER_REGION)))
    for region in (REGION, OTHER_REGION):
        for each in world.snapshots_in_aws(region):
            world.ec2(region).delete_snapshot(SnapshotId=each["SnapshotId"])
    world.simulator.faults([{"op": "ec2:*", "kind": "denied", "region": REGION}])
    take_stock(world)
    by_region = dict(backup.snapshots.values_list("region", "status"))
    assert by_region == {REGION: SnapshotStatus.SUCCEEDED, OTHER_REGION: SnapshotStatus.DELETED}


def test_many_are_compared_page_by_page_in_few_calls(world: World) -> None:
    backup = world.backup(volumes(world))
    row = backup.snapshots.get()
    made = many_snapshots(world, instances=125, volumes_per=20)
    Snapshot.objects.bulk_create(copy_of(row, ref) for ref in made)
    lost = made[:3]
    for ref in lost:
        world.ec2().delete_snapshot(SnapshotId=ref)
    world.move_to(clock.now() + timedelta(minutes=5))
    inventory.start()
    world.simulator.reset_counts()
    world.work()
    gone = backup.snapshots.filter(status=SnapshotStatus.DELETED)
    assert set(gone.values_list("aws_ref", flat=True)) == set(lost)
    finished = cleanup_log("inventory_finished")[-1]
    assert finished["listed"] == len(made) + 1 - len(lost) == 2498
    # Three pages; and the missing ones, by ids and then, as AWS fails that call, by a filter.
    assert world.simulator.counts() == {SEE: 3 + 2}


def many_snapshots(world: World, **estate: Any) -> list[str]:
    """Snapshots of many volumes that carry the mark of this server."""
    marks = tags.specification("snapshot", {tags.SERVER_ID: identity.server_id()})
    made = []
    for instance_id in world.seed(**estate)["instances"]:
        snapshots = world.ec2().create_snapshots(
            InstanceSpecification={"InstanceId": instance_id}, TagSpecifications=[marks]
        )
        made += [each["SnapshotId"] for each in snapshots["Snapshots"]]
    return made


def copy_of(row: Snapshot, ref: str) -> Snapshot:
    """Another row like this one."""
    made = copy(row)
    made.pk, made._state.adding, made.aws_ref = None, True, ref
    return made
