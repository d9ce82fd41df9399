"""Instances launched from initial AMIs: all their data are the backup's, or nothing is left."""

from typing import Any

import pytest

from cpm.models.backups import Backup
from cpm.models.recoveries import Recovery, RecoveryOutcome
from cpm.models.snapshots import Snapshot
from cpm.resources.contract import OptionRefused
from tests.engine.test_recoveries import (
    devices,
    done,
    images,
    instance,
    instance_ids,
    told,
    volume,
    volume_ids,
)
from tests.engine.world import World, instance_target, log_of, recover_instance

WINDOWS = "ami-0fedcba0987654321"
ROOT, DATA = "/dev/sda1", "xvdf"
FAILED, PARTIAL, SUCCEEDED = (
    RecoveryOutcome.FAILED,
    RecoveryOutcome.PARTIAL,
    RecoveryOutcome.SUCCEEDED,
)


def windows(world: World) -> str:
    """A Windows instance with a data volume."""
    launched = world.ec2().run_instances(
        ImageId=WINDOWS,
        MinCount=1,
        MaxCount=1,
        InstanceType="t3.large",
        BlockDeviceMappings=[
            {"DeviceName": DATA, "Ebs": {"VolumeSize": 20, "DeleteOnTermination": False}}
        ],
    )
    return str(launched["Instances"][0]["InstanceId"])


@pytest.fixture
def backup(world: World) -> Backup:
    """A second backup, which shares the initial AMI of the first."""
    policy = world.policy(instance_target(windows(world), backup_option="I"))
    world.backup(policy)
    return world.backup(policy)


def recovered(world: World, backup: Backup, **asked: Any) -> Recovery:
    return done(world, recover_instance(backup.targets.get(), **asked))


def copies(backup: Backup) -> dict[str, str]:
    """The backup's snapshots by device."""
    rows = backup.snapshots.filter(collection="volumes")
    return {str(row.volume_device): row.aws_ref for row in rows}


def origins(world: World, instance_id: str) -> dict[str, str]:
    """Which snapshots an instance's volumes are of, by device."""
    return {
        device: str(volume(world, volume_id)["SnapshotId"])
        for device, volume_id in devices(world, instance_id).items()
    }


@pytest.mark.parametrize("original_is_gone", [False, True])
def test_windows_comes_back_with_this_backups_data(
    world: World, backup: Backup, *, original_is_gone: bool
) -> None:
    original = backup.targets.get().resource_id
    before = instance(world, original)
    if original_is_gone:
        world.ec2().terminate_instances(InstanceIds=[original])
    volumes = volume_ids(world)
    recovery = recovered(world, backup)
    assert (recovery.outcome, recovery.error) == (SUCCEEDED, "")
    (result,) = recovery.result_resource_ids
    made = instance(world, result)
    assert (made["State"]["Name"], made["Platform"]) == ("running", "windows")
    assert made["ImageId"] == backup.snapshots.get(collection="initial_amis").aws_ref
    assert origins(world, result) == copies(backup)
    assert set(devices(world, result).values()) == volume_ids(world) - volumes
    flags = {
        each["DeviceName"]: each["Ebs"]["DeleteOnTermination"]
        for each in made["BlockDeviceMappings"]
    }
    assert flags == {ROOT: True, DATA: False}
    if original_is_gone:
        assert made["PrivateIpAddress"] == before["PrivateIpAddress"]


def test_it_can_be_left_stopped(world: World, backup: Backup) -> None:
    recovery = recovered(world, backup, start=False)
    (result,) = recovery.result_resource_ids
    assert instance(world, result)["State"]["Name"] == "stopped"
    assert origins(world, result) == copies(backup)


def test_several_are_launched_each_with_volumes_of_its_own(world: World, backup: Backup) -> None:
    volumes = volume_ids(world)
    recovery = recovered(world, backup, number_of_instances=2)
    assert recovery.outcome == SUCCEEDED
    assert len(recovery.result_resource_ids) == 2
    for result in recovery.result_resource_ids:
        assert origins(world, result) == copies(backup)
    assert len(volume_ids(world) - volumes) == 4


def test_volumes_are_changed_and_left_out_as_wished(world: World, backup: Backup) -> None:
    asked = [
        {"device": ROOT, "size_gib": 40, "delete_on_termination": False},
        {"device": DATA, "skip": True},
    ]
    recovery = recovered(world, backup, block_devices=asked)
    (result,) = recovery.result_resource_ids
    (mapping,) = instance(world, result)["BlockDeviceMappings"]
    assert mapping["Ebs"]["DeleteOnTermination"] is False
    assert volume(world, mapping["Ebs"]["VolumeId"])["Size"] == 40


@pytest.mark.parametrize(
    "call",
    [
        *("RunInstances", "StopInstances", "DetachVolume", "CreateVolume", "AttachVolume"),
        *("ModifyInstanceAttribute", "StartInstances"),
    ],
)
def test_a_failure_anywhere_leaves_nothing(world: World, backup: Backup, call: str) -> None:
    before = instance_ids(world), volume_ids(world), images(world)
    world.simulator.faults([{"op": f"ec2:{call}", "kind": "denied", "times": 3}])
    recovery = recovered(world, backup)
    assert recovery.outcome == FAILED
    assert f"ec2:{call}" in recovery.error
    assert recovery.result_resource_ids == []
    assert (instance_ids(world), volume_ids(world), images(world)) == before
    assert "step_not_undone" not in log_of(recovery)


def test_where_one_of_several_fails_none_is_left(world: World, backup: Backup) -> None:
    before = instance_ids(world), volume_ids(world)
    original = backup.targets.get().resource_id
    world.ec2().modify_instance_attribute(
        InstanceId=original, DisableApiTermination={"Value": True}
    )
    recovery = recover_instance(backup.targets.get(), number_of_instances=2)
    # Enough to refuse one of the two for good.
    world.simulator.faults([{"op": "ec2:StartInstances", "kind": "denied", "times": 5}])
    recovery = done(world, recovery)
    assert recovery.outcome == FAILED
    started = [line for line in told(recovery, "step_started") if "start_inst" in line["effect"]]
    assert len(started) == 1
    assert (instance_ids(world), volume_ids(world)) == before


def test_a_root_volume_that_stays_is_named(world: World, backup: Backup) -> None:
    volumes = volume_ids(world)
    world.simulator.faults([{"op": "ec2:DeleteVolume", "kind": "denied"}])
    recovery = recovered(world, backup)
    assert recovery.outcome == PARTIAL
    (result,) = recovery.result_resource_ids
    (left,) = volume_ids(world) - volumes - set(devices(world, result).values())
    (found,) = [line for line in told(recovery, "step_started") if left in line["refs"]][:1]
    assert found["effect"] == "find_root_volumes"


class TestWithoutTheAmi:
    """The initial AMI was deregistered."""

    @pytest.fixture
    def linux(self, world: World) -> Backup:
        (instance_id,) = world.seed(instances=1, volumes_per=2)["instances"]
        return world.backup(world.policy(instance_target(instance_id, backup_option="I")))

    def test_linux_comes_back_from_its_snapshots_and_that_is_told(
        self, world: World, linux: Backup
    ) -> None:
        lost = self._lose(world, linux)
        recovery = recovered(world, linux)
        assert recovery.outcome == SUCCEEDED
        assert origins(world, recovery.result_resource_ids[0]) == copies(linux)
        assert any(lost.aws_ref in line["note"] for line in told(recovery, "recovery_differs"))

    def test_what_was_asked_for_or_is_windows_is_refused(
        self, world: World, linux: Backup, backup: Backup
    ) -> None:
        for one, asked in ((linux, {"launch_from": "I"}), (backup, {})):
            self._lose(world, one)
            with pytest.raises(OptionRefused, match="cannot be launched") as refusal:
                recover_instance(one.targets.get(), **asked)
            assert refusal.value.field == "launch_from"

    def _lose(self, world: World, backup: Backup) -> Snapshot:
        row = backup.snapshots.get(collection="initial_amis")
        world.ec2().deregister_image(ImageId=row.aws_ref)
        return row


def test_snapshots_are_launched_from_where_that_is_asked_for(world: World) -> None:
    (instance_id,) = world.seed(instances=1, volumes_per=2)["instances"]
    backup = world.backup(world.policy(instance_target(instance_id, backup_option="I")))
    recovery = recovered(world, backup, launch_from="S")
    effects = [line["effect"] for line in told(recovery, "step_started")]
    assert "register_image" in effects
    assert "detach_volume" not in effects
    assert origins(world, recovery.result_resource_ids[0]) == copies(backup)
