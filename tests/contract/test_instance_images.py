"""AMIs of instances: what they hold, how they are found again, and how they go."""

from dataclasses import replace
from functools import partial

import pytest

from cpm.aws import tags
from cpm.kernel.faults import FaultKind
from cpm.resources.contract import Json, OptionRefused, Order, State
from cpm.testing.stage import Begun, Stage, fault_of
from tests.contract.conftest import Staging
from tests.contract.ec2 import behind_image, describe, image_of, instance_of, lose_image, tags_of
from tests.contract.test_ebs_volume import refusal_of
from tests.contract.test_ec2_instance import changed, ids_at, recovered


@pytest.fixture
def stage(staged: Staging) -> Stage:
    return staged("ec2_instance", "by AMI")


def imaged(stage: Stage) -> Begun:
    """An instance that is protected by an AMI."""
    (begun,) = stage.carry_out(stage.plan(stage.plant()))
    return begun


def image_id(begun: Begun) -> str:
    (found,) = begun.refs.values()
    return found


def all_snapshots(stage: Stage) -> set[str]:
    found = describe(stage, "DescribeSnapshots", "Snapshots", OwnerIds=["self"])
    return {snapshot["SnapshotId"] for snapshot in found}


@pytest.mark.parametrize(("option", "no_reboot"), [("A", False), ("N", True)])
def test_the_option_says_whether_the_instance_is_rebooted(
    stage: Stage, option: str, no_reboot: bool
) -> None:
    stage.carry_out(stage.plan(stage.plant(), {"backup_option": option}))
    (call,) = [call for call in stage.aws.calls if call.operation == "CreateImage"]
    assert call.parameters["NoReboot"] is no_reboot


def test_an_ami_and_its_snapshots_carry_marks_and_the_instances_tags(stage: Stage) -> None:
    begun = imaged(stage)
    image = image_of(stage, image_id(begun))
    assert begun.ask.token in image["Name"]
    assert "a-policy" in image["Description"]
    for each in (image["ImageId"], *behind_image(stage, image["ImageId"])):
        carried = tags_of(stage, each)
        assert begun.ask.marks.items() <= carried.items()
        assert carried["team"] == "red"


def test_only_the_chosen_volumes_are_in_it(stage: Stage) -> None:
    instance = stage.plant()
    options = {"backup_option": "N", "volumes_mode": "E", "volumes": ids_at(instance, "/dev/sdf")}
    (order,) = stage.plan(instance, options)
    (begun,) = stage.carry_out([order])
    mappings = image_of(stage, image_id(begun))["BlockDeviceMappings"]
    assert {each["DeviceName"] for each in mappings} == {"/dev/xvda", "/dev/sdg"}
    (part,) = order.parts
    assert part.size_gib == sum(each["Ebs"]["VolumeSize"] for each in mappings)


def test_an_ami_without_the_root_volume_is_refused(stage: Stage) -> None:
    instance = stage.plant()
    options = {"backup_option": "A", "volumes_mode": "I", "volumes": ids_at(instance, "/dev/sdf")}
    with pytest.raises(OptionRefused, match="root volume"):
        stage.plan(instance, options)


def test_what_is_learnt_of_it_are_its_snapshots(stage: Stage) -> None:
    begun = imaged(stage)
    learnt = stage.poll(begun)[image_id(begun)].facts["snapshots"]
    assert sorted(learnt.values()) == sorted(behind_image(stage, image_id(begun)))
    assert set(learnt) == {"/dev/xvda", "/dev/sdf", "/dev/sdg"}


def test_its_name_keeps_a_second_one_from_being_made(stage: Stage) -> None:
    begun = imaged(stage)
    assert begun.effect.start(stage.aws, begun.ask) == begun.refs


def test_one_that_is_not_listed_yet_is_asked_for_again_later(stage: Stage) -> None:
    (order,) = stage.plan(stage.plant())
    effect, ask = stage.driver.effect(order.effect), stage.ask(order)
    with stage.faults({"op": "ec2:CreateImage", "kind": "unlisted", "seconds": 3600}):
        effect.start(stage.aws, ask)
    fault = fault_of(partial(effect.start, stage.aws, ask))
    assert fault.kind is FaultKind.TRANSIENT


@pytest.mark.parametrize("is_known", [True, False])
def test_its_snapshots_go_with_it_and_no_others(stage: Stage, is_known: bool) -> None:
    begun, other = imaged(stage), imaged(stage)
    facts = stage.poll(begun)[image_id(begun)].facts if is_known else {}
    delete(stage, image_id(begun), facts)
    assert stage.poll(begun)[image_id(begun)].state is State.GONE
    assert all_snapshots(stage) == set(behind_image(stage, image_id(other)))


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("cut", ["ec2:DeregisterImage", "ec2:DeleteSnapshot"])
def test_a_deletion_that_was_cut_short_is_finished_by_the_next(
    stage: Stage, is_known: bool, cut: str
) -> None:
    begun = imaged(stage)
    facts = stage.poll(begun)[image_id(begun)].facts if is_known else {}
    with stage.faults({"op": cut, "kind": "lost", "times": 1}):
        fault_of(partial(delete, stage, image_id(begun), facts))
    delete(stage, image_id(begun), facts)
    assert all_snapshots(stage) == set()


def test_a_snapshot_that_another_ami_needs_is_not_taken_from_it(stage: Stage) -> None:
    begun = imaged(stage)
    root = stage.poll(begun)[image_id(begun)].facts["snapshots"]["/dev/xvda"]
    registered = stage.hand.call(
        "ec2",
        "RegisterImage",
        Name="somebody else's",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": root}}],
    )["ImageId"]
    fault = fault_of(partial(delete, stage, image_id(begun), {}))
    assert fault.kind is FaultKind.LOCKED
    assert registered in fault.message
    assert root in all_snapshots(stage)


def test_ours_alone_are_taken_for_its_snapshots(stage: Stage) -> None:
    begun = imaged(stage)
    (kept, *_) = behind_image(stage, image_id(begun))
    stage.hand.call("ec2", "DeleteTags", Resources=[kept], Tags=[{"Key": tags.TOKEN}])
    delete(stage, image_id(begun), {})
    assert all_snapshots(stage) == {kept}


def delete(stage: Stage, ref: str, facts: Json) -> None:
    """Delete an AMI as the product does, knowing this of it."""
    order = Order("delete", {"aws_ref": ref, "facts": facts})
    stage.driver.effect("delete").start(stage.aws, stage.ask(order))


def test_an_instance_comes_back_from_its_ami_without_what_is_skipped(stage: Stage) -> None:
    source = stage.back_up(stage.plant())
    (ami,) = source.copies
    made = recovered(stage, source, {"block_devices": [{"device": "/dev/sdf", "skip": True}]})
    instance = instance_of(stage, made["run"]["instance"])
    assert instance["ImageId"] == ami.aws_ref
    devices = {each["DeviceName"] for each in instance["BlockDeviceMappings"]}
    assert devices == {"/dev/xvda", "/dev/sdg"}
    assert image_of(stage, ami.aws_ref)["State"] == "available"


def test_windows_comes_back_from_its_ami(stage: Stage) -> None:
    source = changed(stage.back_up(stage.plant()), platform="windows")
    assert recovered(stage, source, {"launch_from": "I"})["run"]


def test_an_ami_that_is_gone_starts_nothing(stage: Stage) -> None:
    source = stage.back_up(stage.plant())
    lose_image(stage, source.copies[0].aws_ref)
    assert refusal_of(stage, source, {}) == ("non_field_errors", "does_not_exist")


def test_an_initial_ami_alone_is_no_backup_to_recover_from(staged: Staging) -> None:
    stage = staged("ec2_instance", "with an initial AMI")
    source = stage.back_up(stage.plant())
    alone = replace(source, copies=[copy for copy in source.copies if not copy.device])
    assert len(alone.copies) == 1
    assert refusal_of(stage, alone, {}) == ("non_field_errors", "invalid")
