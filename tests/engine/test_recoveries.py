"""What was protected comes back: whole, as wished, or with nothing half-made left behind."""

from datetime import timedelta
from typing import Any

import pytest

from cpm.engine import recoveries
from cpm.kernel import clock
from cpm.models.backups import Backup
from cpm.models.events import Event
from cpm.models.recoveries import Recovery, RecoveryOutcome
from cpm.models.snapshots import Snapshot
from cpm.resources.contract import OptionRefused
from tests.engine.world import (
    World,
    instance_target,
    log_of,
    open_alerts,
    recover,
    recover_instance,
    volume_target,
)

SUCCEEDED, PARTIAL, FAILED = (
    RecoveryOutcome.SUCCEEDED,
    RecoveryOutcome.PARTIAL,
    RecoveryOutcome.FAILED,
)
FREE = "/dev/sdp"


def snapshot_of_volume(world: World) -> Snapshot:
    """A good snapshot of a volume that belongs to no instance."""
    return world.backup(world.policy(volume_target(world.volume()))).snapshots.get()


def backed_up_instance(world: World, volumes: int = 2, *, stopped: bool = False) -> Backup:
    """A backup of an instance with so many volumes."""
    (instance_id,) = world.seed(instances=1, volumes_per=volumes)["instances"]
    if stopped:
        world.ec2().stop_instances(InstanceIds=[instance_id])
    return world.backup(world.policy(instance_target(instance_id)))


def data_volume(backup: Backup) -> Snapshot:
    """The snapshot of the instance's last volume."""
    return backup.snapshots.order_by("volume_device").reverse()[0]


def done(world: World, recovery: Recovery) -> Recovery:
    """The recovery when it is over."""
    world.drain()
    recovery.refresh_from_db()
    return recovery


def volume(world: World, volume_id: str) -> dict[str, Any]:
    (found,) = world.ec2().describe_volumes(VolumeIds=[volume_id])["Volumes"]
    return dict(found)


def volume_ids(world: World) -> set[str]:
    return {each["VolumeId"] for each in world.ec2().describe_volumes()["Volumes"]}


def instance(world: World, instance_id: str) -> dict[str, Any]:
    (reservation,) = world.ec2().describe_instances(InstanceIds=[instance_id])["Reservations"]
    return dict(reservation["Instances"][0])


def instance_ids(world: World) -> set[str]:
    """The instances that have not been terminated."""
    return {
        each["InstanceId"]
        for reservation in world.ec2().describe_instances()["Reservations"]
        for each in reservation["Instances"]
        if each["State"]["Name"] != "terminated"
    }


def images(world: World) -> list[str]:
    return [each["ImageId"] for each in world.ec2().describe_images(Owners=["self"])["Images"]]


def devices(world: World, instance_id: str) -> dict[str, str]:
    """The instance's volumes by device."""
    mappings = instance(world, instance_id)["BlockDeviceMappings"]
    return {each["DeviceName"]: each["Ebs"]["VolumeId"] for each in mappings}


def told(recovery: Recovery, code: str) -> list[dict[str, Any]]:
    """What the log says in lines of that code."""
    lines = Event.objects.filter(recovery=recovery, code=code).order_by("pk")
    return list(lines.values_list("values", flat=True))


# --- volumes -------------------------------------------------------------------------------------


def test_a_volume_comes_back_as_it_was(world: World) -> None:
    snapshot = snapshot_of_volume(world)
    recovery = done(world, recover(snapshot))
    assert (recovery.outcome, recovery.error) == (SUCCEEDED, "")
    assert recovery.finished_at is not None
    (result,) = recovery.result_resource_ids
    made, original = volume(world, result), volume(world, snapshot.resource_id)
    assert made["SnapshotId"] == snapshot.aws_ref
    for fact in ("Size", "VolumeType", "AvailabilityZone", "Encrypted"):
        assert made[fact] == original[fact]
    assert {tag["Key"]: tag["Value"] for tag in made["Tags"]}.items() >= {
        (tag["Key"], tag["Value"]) for tag in original["Tags"]
    }
    assert log_of(recovery) == ["recovery_started", "step_started", "recovery_succeeded"]


def test_options_override_what_the_volume_was(world: World) -> None:
    snapshot = snapshot_of_volume(world)
    wished = {"size_gib": 20, "volume_type": "io1", "iops": 500, "availability_zone": "us-east-1b"}
    recovery = done(world, recover(snapshot, **wished, additional_tags={"ticket": "4711"}))
    made = volume(world, recovery.result_resource_ids[0])
    assert (made["Size"], made["VolumeType"], made["Iops"]) == (20, "io1", 500)
    assert made["AvailabilityZone"] == "us-east-1b"
    assert {"Key": "ticket", "Value": "4711"} in made["Tags"]
    assert recovery.options["size_gib"] == 20


def test_a_volume_is_attached_where_the_device_is_free(world: World) -> None:
    backup = backed_up_instance(world)
    snapshot = data_volume(backup)
    instance_id = str(snapshot.instance_id)
    before = devices(world, instance_id)
    recovery = done(world, recover(snapshot, attach_to_instance=instance_id, device=FREE))
    assert recovery.outcome == SUCCEEDED
    assert devices(world, instance_id) == before | {FREE: recovery.result_resource_ids[0]}


def test_a_taken_device_is_refused_unless_a_switch_was_asked_for(world: World) -> None:
    snapshot = data_volume(backed_up_instance(world, stopped=True))
    with pytest.raises(OptionRefused, match="is taken"):
        recover(snapshot, attach_to_instance=snapshot.instance_id)
    assert not Recovery.objects.exists()


def test_volumes_of_a_running_instance_are_not_switched(world: World) -> None:
    snapshot = data_volume(backed_up_instance(world))
    with pytest.raises(OptionRefused, match="must be stopped"):
        recover(snapshot, attach_to_instance=snapshot.instance_id, attach_behavior="S")


@pytest.mark.parametrize(("behavior", "old_is_there"), [("S", True), ("D", False)])
def test_an_attached_volume_is_switched(world: World, behavior: str, *, old_is_there: bool) -> None:
    snapshot = data_volume(backed_up_instance(world, stopped=True))
    instance_id, old = str(snapshot.instance_id), snapshot.resource_id
    asked = {"attach_to_instance": instance_id, "attach_behavior": behavior}
    recovery = done(world, recover(snapshot, **asked))
    assert (recovery.outcome, recovery.error) == (SUCCEEDED, "")
    (new,) = recovery.result_resource_ids
    assert devices(world, instance_id)[str(snapshot.volume_device)] == new
    assert (old in volume_ids(world)) == old_is_there


def test_a_switch_that_fails_puts_the_old_volume_back(world: World) -> None:
    snapshot = data_volume(backed_up_instance(world, stopped=True))
    instance_id = str(snapshot.instance_id)
    before, volumes = devices(world, instance_id), volume_ids(world)
    world.simulator.faults([{"op": "ec2:AttachVolume", "kind": "denied", "times": 3}])
    asked = {"attach_to_instance": instance_id, "attach_behavior": "D"}
    recovery = done(world, recover(snapshot, **asked))
    assert recovery.outcome == FAILED
    assert recovery.result_resource_ids == []
    assert devices(world, instance_id) == before
    assert volume_ids(world) == volumes


def test_an_old_volume_is_back_only_when_aws_says_so(world: World) -> None:
    snapshot = data_volume(backed_up_instance(world, stopped=True))
    instance_id, old = str(snapshot.instance_id), snapshot.resource_id
    world.simulator.config(pending=3)
    world.simulator.faults([{"op": "ec2:AttachVolume", "kind": "denied", "times": 3}])
    asked = {"attach_to_instance": instance_id, "attach_behavior": "S"}
    recovery = done(world, recover(snapshot, **asked))
    assert recovery.outcome == FAILED
    (attachment,) = volume(world, old)["Attachments"]
    assert attachment["State"] == "attached"
    back = told(recovery, "step_undone")[0]
    assert back == {
        "refs": f"{old} {instance_id} {snapshot.volume_device}",
        "effect": "detach_volume",
    }


def test_a_volume_is_not_torn_out_of_an_instance_that_was_started_meanwhile(world: World) -> None:
    snapshot = data_volume(backed_up_instance(world, stopped=True))
    instance_id = str(snapshot.instance_id)
    before, volumes = devices(world, instance_id), volume_ids(world)
    recovery = recover(snapshot, attach_to_instance=instance_id, attach_behavior="D")
    world.ec2().start_instances(InstanceIds=[instance_id])
    recovery = done(world, recovery)
    assert recovery.outcome == FAILED
    assert "must be stopped" in recovery.error
    assert devices(world, instance_id) == before
    assert volume_ids(world) == volumes


def test_an_instance_that_is_stopped_again_in_time_has_its_volume_switched(world: World) -> None:
    snapshot = data_volume(backed_up_instance(world, stopped=True))
    instance_id = str(snapshot.instance_id)
    recovery = recover(snapshot, attach_to_instance=instance_id, attach_behavior="S")
    world.ec2().start_instances(InstanceIds=[instance_id])
    while "call_refused" not in log_of(recovery):
        world.work()
        world.next_look()
    world.ec2().stop_instances(InstanceIds=[instance_id])
    assert done(world, recovery).outcome == SUCCEEDED
    assert devices(world, instance_id)[str(snapshot.volume_device)] in recovery.result_resource_ids


def test_a_volume_that_cannot_be_attached_is_taken_back(world: World) -> None:
    snapshot = data_volume(backed_up_instance(world))
    volumes = volume_ids(world)
    world.simulator.faults([{"op": "ec2:AttachVolume", "kind": "denied"}])
    asked = {"attach_to_instance": snapshot.instance_id, "device": FREE}
    recovery = done(world, recover(snapshot, **asked))
    assert recovery.outcome == FAILED
    assert recovery.error.startswith("attach_volume: ec2:AttachVolume")
    assert volume_ids(world) == volumes
    (started,) = told(recovery, "step_started")
    (undone,) = told(recovery, "step_undone")
    assert undone == {"refs": started["refs"], "effect": "create_volume"}
    assert log_of(recovery)[-1] == "recovery_failed"


def test_what_cannot_be_taken_back_is_named(world: World) -> None:
    snapshot = data_volume(backed_up_instance(world))
    volumes = volume_ids(world)
    world.simulator.faults(
        [{"op": f"ec2:{name}", "kind": "denied"} for name in ("AttachVolume", "DeleteVolume")]
    )
    asked = {"attach_to_instance": snapshot.instance_id, "device": FREE}
    recovery = done(world, recover(snapshot, **asked))
    assert recovery.outcome == FAILED
    (left,) = volume_ids(world) - volumes
    (line,) = told(recovery, "step_not_undone")
    assert line["refs"] == left
    assert "DeleteVolume" in line["error"]
    assert recoveries.failed_cause(recovery) in open_alerts()


def test_an_old_volume_that_cannot_be_deleted_makes_the_recovery_partial(world: World) -> None:
    snapshot = data_volume(backed_up_instance(world, stopped=True))
    instance_id, old = str(snapshot.instance_id), snapshot.resource_id
    world.simulator.faults([{"op": "ec2:DeleteVolume", "kind": "denied"}])
    asked = {"attach_to_instance": instance_id, "attach_behavior": "D"}
    recovery = done(world, recover(snapshot, **asked))
    assert recovery.outcome == PARTIAL
    assert recovery.error.startswith("delete_volume: ")
    (new,) = recovery.result_resource_ids
    assert devices(world, instance_id)[str(snapshot.volume_device)] == new
    assert old in volume_ids(world)


# --- instances -----------------------------------------------------------------------------------


def test_an_instance_comes_back_with_its_volumes(world: World) -> None:
    backup = backed_up_instance(world, volumes=3)
    target = backup.targets.get()
    recovery = done(world, recover_instance(target))
    assert (recovery.outcome, recovery.error) == (SUCCEEDED, "")
    (result,) = recovery.result_resource_ids
    assert result != target.resource_id
    made, original = instance(world, result), instance(world, target.resource_id)
    assert made["State"]["Name"] == "running"
    for fact in ("InstanceType", "SubnetId", "SecurityGroups"):
        assert made[fact] == original[fact]
    by_device = {
        device: volume(world, volume_id)["SnapshotId"]
        for device, volume_id in devices(world, result).items()
    }
    assert by_device == dict(backup.snapshots.values_list("volume_device", "aws_ref"))
    assert images(world) == []


def test_options_override_what_the_instance_was(world: World) -> None:
    backup = backed_up_instance(world)
    wished = {"instance_type": "t3.small", "number_of_instances": 2, "start": False}
    recovery = done(world, recover_instance(backup.targets.get(), **wished))
    assert recovery.outcome == SUCCEEDED
    assert len(recovery.result_resource_ids) == 2
    for instance_id in recovery.result_resource_ids:
        made = instance(world, instance_id)
        assert (made["InstanceType"], made["State"]["Name"]) == ("t3.small", "stopped")


def test_a_launch_that_fails_leaves_no_image_behind(world: World) -> None:
    backup = backed_up_instance(world)
    before = instance_ids(world)
    world.simulator.faults([{"op": "ec2:RunInstances", "kind": "denied"}])
    recovery = done(world, recover_instance(backup.targets.get()))
    assert recovery.outcome == FAILED
    assert recovery.error.startswith("run_instances: ec2:RunInstances")
    assert (instance_ids(world), images(world)) == (before, [])
    assert [line["effect"] for line in told(recovery, "step_undone")] == ["register_image"]


def test_an_instance_that_cannot_be_stopped_as_asked_is_taken_back(world: World) -> None:
    backup = backed_up_instance(world)
    before, volumes = instance_ids(world), volume_ids(world)
    world.simulator.faults([{"op": "ec2:StopInstances", "kind": "denied"}])
    recovery = done(world, recover_instance(backup.targets.get(), start=False))
    assert recovery.outcome == FAILED
    assert recovery.result_resource_ids == []
    assert (instance_ids(world), images(world)) == (before, [])
    assert volume_ids(world) == volumes


def test_a_lost_answer_launches_no_second_instance(world: World) -> None:
    backup = backed_up_instance(world)
    before = instance_ids(world)
    world.simulator.faults([{"op": "ec2:RunInstances", "kind": "lost", "times": 1}])
    recovery = done(world, recover_instance(backup.targets.get()))
    assert recovery.outcome == SUCCEEDED
    assert instance_ids(world) - before == set(recovery.result_resource_ids)
    assert "answer_lost" in log_of(recovery)


# --- time, alerts, what was there before ---------------------------------------------------------


def test_a_recovery_that_takes_too_long_is_given_up(world: World) -> None:
    recovery = recover(snapshot_of_volume(world))
    world.simulator.faults([{"op": "ec2:CreateVolume", "kind": "503"}])
    world.work()
    world.move_to(clock.now() + recoveries.DEADLINE + timedelta(minutes=1))
    recovery = done(world, recovery)
    assert recovery.outcome == FAILED
    assert recovery.error.startswith("create_volume: ")


def test_what_aws_may_have_made_unseen_is_named_by_its_token(world: World) -> None:
    snapshot = snapshot_of_volume(world)
    volumes = volume_ids(world)
    recovery = recover(snapshot)
    world.simulator.faults([{"op": "ec2:CreateVolume", "kind": "lost"}])
    world.work()
    world.move_to(clock.now() + recoveries.DEADLINE + timedelta(minutes=1))
    recovery = done(world, recovery)
    (left,) = volume_ids(world) - volumes
    tags = {tag["Key"]: tag["Value"] for tag in volume(world, left)["Tags"]}
    assert recovery.outcome == FAILED
    assert tags["cpm_token"] in recovery.error


def test_a_later_success_resolves_the_alert_of_a_failure(world: World) -> None:
    snapshot = snapshot_of_volume(world)
    world.simulator.faults([{"op": "ec2:CreateVolume", "kind": "denied"}])
    cause = recoveries.failed_cause(done(world, recover(snapshot)))
    assert cause in open_alerts()
    world.simulator.faults([])
    assert done(world, recover(snapshot)).outcome == SUCCEEDED
    assert cause not in open_alerts()


def test_rights_that_are_granted_in_time_save_the_recovery(world: World) -> None:
    recovery = recover(snapshot_of_volume(world))
    world.simulator.faults([{"op": "ec2:CreateVolume", "kind": "denied", "times": 2}])
    assert done(world, recovery).outcome == SUCCEEDED
    assert log_of(recovery).count("call_refused") == 2


def test_a_record_of_a_recovery_outlives_its_backup(world: World) -> None:
    snapshot = snapshot_of_volume(world)
    recovery = done(world, recover(snapshot))
    snapshot.backup.delete()
    recovery.refresh_from_db()
    assert recovery.backup is None
    assert recovery.backup_started_at == snapshot.backup.started_at
