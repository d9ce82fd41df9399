"""Runs over databases: what they cost, what waits, and what ends badly."""

from typing import Any

import pytest

from cpm.engine import tick
from cpm.models.backups import BackupOutcome
from cpm.models.operations import Operation, OperationPhase
from cpm.models.policies import Target
from cpm.models.recoveries import Recovery, RecoveryOutcome
from cpm.models.snapshots import Snapshot
from cpm.resources import registry
from tests.engine.tagging import KEY, Tagging, targets_of
from tests.engine.world import REGION, World, log_of, start_recovery


@pytest.fixture
def rds(world: World) -> Any:
    """RDS as the owner of the account sees it."""
    return world.client("rds")


def targets(world: World, **estate: Any) -> list[Target]:
    """Targets for so many databases and clusters."""
    seeded = world.seed(**estate)
    return [
        *(Target(kind="rds_database", resource_id=n, region=REGION) for n in seeded["databases"]),
        *(Target(kind="rds_cluster", resource_id=n, region=REGION) for n in seeded["clusters"]),
    ]


def calls(world: World) -> dict[str, int]:
    """How often AWS was called since the last time, by operation."""
    counted = world.simulator.counts()
    world.simulator.reset_counts()
    return counted


def manual(rds: Any) -> list[str]:
    """The snapshots that somebody asked for."""
    found = rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    return [each["DBSnapshotIdentifier"] for each in found]


def recover(snapshot: Snapshot, **asked: Any) -> Recovery:
    """Start to bring back what a snapshot was made of."""
    resource = (snapshot.resource_id, snapshot.resource_name, snapshot.facts)
    driver = registry.driver(snapshot.kind)
    return start_recovery(driver, snapshot.backup, resource, [snapshot], asked)


def test_a_run_over_databases_makes_no_call_too_many(world: World, rds: Any) -> None:
    policy = world.policy(*targets(world, databases=20))
    calls(world)
    backup = world.backup(policy)
    assert backup.outcome == BackupOutcome.SUCCEEDED
    assert calls(world) == {
        "rds:DescribeDBInstances": 1,
        "rds:CreateDBSnapshot": 20,
        "rds:DescribeDBSnapshots": 1,
    }
    assert len(manual(rds)) == 20


def test_a_run_over_clusters_makes_no_call_too_many(world: World) -> None:
    policy = world.policy(*targets(world, clusters=5))
    calls(world)
    assert world.backup(policy).outcome == BackupOutcome.SUCCEEDED
    assert calls(world) == {
        "rds:DescribeDBClusters": 1,
        "rds:DescribeDBInstances": 1,
        "rds:CreateDBClusterSnapshot": 5,
        "rds:DescribeDBClusterSnapshots": 1,
    }


def test_snapshots_beyond_the_quota_wait_until_there_is_room(world: World, rds: Any) -> None:
    world.simulator.config(limits={"rds_snapshots": 1})
    try:
        policy = world.policy(*targets(world, databases=2))
        backup = tick.run_now(policy)
        world.work()
        for _ in range(3):
            assert world.next_look()
            world.work()
        waiting = Operation.objects.exclude(phase=OperationPhase.CLOSED).get()
        assert "SnapshotQuotaExceeded" in waiting.error
        (full,) = manual(rds)
        rds.delete_db_snapshot(DBSnapshotIdentifier=full)
        world.drain()
    finally:
        world.simulator.config(limits={"rds_snapshots": 100})
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.SUCCEEDED


def test_a_database_that_stays_busy_fails_and_says_why(world: World, rds: Any) -> None:
    good, busy = targets(world, databases=2)
    rds.stop_db_instance(DBInstanceIdentifier=busy.resource_id)
    backup = world.backup(world.policy(good, busy))
    assert backup.outcome == BackupOutcome.PARTIAL
    failed = Snapshot.objects.get(backup=backup, resource_id=busy.resource_id)
    assert "InvalidDBInstanceState" in failed.error
    assert "call_refused" in log_of(backup)


def test_a_member_that_goes_wrong_leaves_a_cluster_that_is_recovered_in_part(
    world: World, rds: Any
) -> None:
    (target,) = targets(world, clusters=1)
    reader = f"{target.resource_id}-2"
    rds.create_db_instance(
        DBInstanceIdentifier=reader,
        DBInstanceClass="db.r6g.large",
        Engine="aurora-mysql",
        DBClusterIdentifier=target.resource_id,
    )
    backup = world.backup(world.policy(target))
    recovery = recover(backup.snapshots.get(), cluster_identifier="again")
    writer, its_reader = recovery.operations.filter(effect__startswith="create_").order_by("pk")
    assert its_reader.effect == "create_reader"
    its_reader.spec["parameters"]["DBParameterGroupName"] = "nothing"
    its_reader.save()
    world.drain()
    recovery.refresh_from_db()
    assert recovery.outcome == RecoveryOutcome.PARTIAL
    assert recovery.result_resource_ids == ["again"]
    assert "create_reader" in recovery.error
    (cluster,) = rds.describe_db_clusters(DBClusterIdentifier="again")["DBClusters"]
    writer.refresh_from_db()
    assert [each["DBInstanceIdentifier"] for each in cluster["DBClusterMembers"]] == list(
        writer.refs.values()
    )


@pytest.mark.parametrize("listing_is_denied", [False, True])
def test_a_tag_on_a_member_protects_its_cluster(world: World, *, listing_is_denied: bool) -> None:
    tagging = Tagging(world)
    tagging.policy("gold")
    (alone,) = world.seed(databases=1, tags={KEY: "gold"})["databases"]
    (cluster,) = world.seed(clusters=1)["clusters"]
    rds = world.client("rds")
    by_cluster = {"Name": "db-cluster-id", "Values": [cluster]}
    (member,) = rds.describe_db_instances(Filters=[by_cluster])["DBInstances"]
    its_tags = [{"Key": KEY, "Value": "gold"}]
    rds.add_tags_to_resource(ResourceName=member["DBInstanceArn"], Tags=its_tags)
    if listing_is_denied:
        denied = {"op": "tag:GetResources", "kind": "denied"}
        world.simulator.faults([denied])
    tagging.scan()
    targets = targets_of("gold")
    assert {each.resource_id: each.kind for each in targets.values()} == {
        alone: "rds_database",
        cluster: "rds_cluster",
    }
