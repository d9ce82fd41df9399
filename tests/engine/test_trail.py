"""What the server changes of its own accord is in its owner's trail, or has not happened."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection

from cpm.engine import cleanup, planner, retention, tick
from cpm.engine.settings import Cleanup
from cpm.kernel import clock
from cpm.models.audit import AuditEntry
from cpm.models.backups import Backup
from cpm.models.policies import AutoRemove, Policy
from cpm.models.snapshots import Snapshot
from tests.engine.world import World, volume_target


@contextmanager
def refused() -> Iterator[None]:
    """Nothing can be written into the trail meanwhile, at which what is inside fails."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TRIGGER test_refuse BEFORE INSERT ON cpm_auditentry"
            " EXECUTE FUNCTION cpm_audit_refuse()"
        )
        try:
            with pytest.raises(DatabaseError, match="append-only"):
                yield
        finally:
            cursor.execute("DROP TRIGGER test_refuse ON cpm_auditentry")


def policy_with_a_gone_target(world: World) -> Policy:
    gone, there = world.volume(), world.volume()
    policy = world.policy(
        *(volume_target(gone), volume_target(there)),
        auto_remove_resource=AutoRemove.YES,
        generations=1,
    )
    world.ec2().delete_volume(VolumeId=gone)
    return policy


def test_the_owners_trail_has_what_was_taken_out_expired_and_forgotten(world: World) -> None:
    policy = policy_with_a_gone_target(world)
    first, _second = world.backup(policy), world.backup(policy)
    Cleanup.change(keep_records_days=10)
    world.move_to(clock.now() + timedelta(days=11))
    cleanup.run()
    entries = AuditEntry.objects.filter(user=world.user, user_name="").order_by("pk")
    assert [(each.event_type, each.object) for each in entries] == [
        ("delete target", policy.name),
        ("delete snapshots of backup", str(first)),
        ("delete backup", str(first)),
    ]
    assert entries[1].description == f"beyond the 1 generations of policy {policy.name}"


def test_without_its_line_in_the_trail_nothing_happens(world: World) -> None:
    policy = policy_with_a_gone_target(world)
    backup = tick.run_now(policy)
    planner.begin(backup)
    with refused():
        planner.plan(backup)
    assert policy.targets.count() == 2
    world.drain()
    assert policy.targets.count() == 1

    tick.run_now(policy)
    with refused():
        world.drain()
    assert not Snapshot.objects.exclude(delete_requested_at=None).exists()
    retention.apply(policy.pk)
    world.drain()

    world.move_to(clock.now() + timedelta(days=91))
    with refused():
        cleanup.run()
    assert Backup.objects.filter(policy=policy).count() == 2
    cleanup.run()
    assert Backup.objects.filter(policy=policy).count() == 1
