"""EC2 instances: which volumes are protected at what cost, and how instances come back."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from cpm.aws import tags
from cpm.kernel import clock
from cpm.resources.contract import Json, Refs, Resource
from cpm.resources.copied import Source
from cpm.testing.stage import DEADLINE_SECONDS, Stage
from tests.contract.conftest import Staging
from tests.contract.ec2 import attribute_of, describe, instance_of, seed, tags_of, volume_of
from tests.contract.instance_rigs import special_instances
from tests.contract.test_ebs_volume import counted, refusal_of


@pytest.fixture
def stage(staged: Staging) -> Stage:
    return staged("ec2_instance")


def described(stage: Stage, resource_id: str) -> Resource:
    (found,) = stage.driver.describe(stage.aws, [resource_id])
    return found


def ids_at(instance: Resource, *devices: str) -> list[str]:
    return [
        volume["volume_id"] for volume in instance.facts["volumes"] if volume["device"] in devices
    ]


def recovered(stage: Stage, source: Source, options: Json) -> Mapping[str, Refs]:
    orders = stage.plan_recovery(source, options)
    begun = stage.carry_out(orders)
    return {order.step: each.refs for order, each in zip(orders, begun, strict=True)}


class TestSnapshots:
    """What protecting an instance does."""

    def test_a_fleet_costs_one_call_for_each_instance_and_few_for_reading(
        self, stage: Stage
    ) -> None:
        ids = seed(stage, instances=60, volumes_per=3)["instances"]
        stage.driver.describe(stage.aws, [])

        def protect() -> None:
            for instance in stage.driver.describe(stage.aws, ids):
                for order in stage.plan(instance):
                    stage.begin(order)

        assert counted(stage, protect) == {
            "DescribeInstances": 1,
            "DescribeVolumes": 1,
            "DescribeImages": 1,
            "CreateSnapshots": 60,
        }

    def test_reading_five_hundred_volumes_is_one_call(self, stage: Stage) -> None:
        seed(stage, instances=400, volumes_per=2)
        assert counted(stage, lambda: list(stage.driver.discover(stage.aws))) == {
            "DescribeInstances": 1,
            "DescribeVolumes": 2,
            "DescribeImages": 1,
        }

    def test_all_volumes_are_taken_at_one_moment(self, stage: Stage) -> None:
        instance = stage.plant()
        (begun,) = stage.carry_out(stage.plan(instance))
        assert set(begun.refs) == {volume["volume_id"] for volume in instance.facts["volumes"]}
        assert begun.effect.operation == "ec2:CreateSnapshots"

    @pytest.mark.parametrize(
        ("mode", "listed", "taken"),
        [
            ("I", ["/dev/sdf"], ["/dev/sdf"]),
            ("I", ["/dev/xvda"], ["/dev/xvda"]),
            ("E", ["/dev/sdf"], ["/dev/xvda", "/dev/sdg"]),
            ("E", ["/dev/xvda"], ["/dev/sdf", "/dev/sdg"]),
            ("E", [], ["/dev/xvda", "/dev/sdf", "/dev/sdg"]),
        ],
    )
    def test_only_the_chosen_volumes_are_taken(
        self, stage: Stage, mode: str, listed: list[str], taken: list[str]
    ) -> None:
        instance = stage.plant()
        options = {"volumes_mode": mode, "volumes": ids_at(instance, *listed)}
        orders = stage.plan(instance, options)
        (begun,) = stage.carry_out(orders)
        assert sorted(begun.refs) == sorted(ids_at(instance, *taken))
        assert {part.device for part in begun.parts} == set(taken)

    def test_an_instance_without_chosen_volumes_asks_for_nothing(self, stage: Stage) -> None:
        instance = stage.plant()
        assert stage.plan(instance, {"volumes_mode": "I"}) == []

    def test_where_too_many_would_be_left_out_each_volume_is_a_call(self, stage: Stage) -> None:
        (_, (instance_id, options)) = special_instances(stage)
        instance = described(stage, instance_id)
        assert len(instance.facts["volumes"]) == 42
        (begun,) = stage.carry_out(stage.plan(instance, options))
        assert begun.effect.operation == "ec2:CreateSnapshot"
        assert list(begun.refs) == options["volumes"]

    def test_parts_are_snapshots_of_volumes_with_instance_and_device(self, stage: Stage) -> None:
        instance = stage.plant()
        (order,) = stage.plan(instance)
        for part in order.parts:
            assert (part.kind, part.collection) == ("ebs_volume", "volumes")
            assert part.instance_id == instance.resource_id
        assert {part.device for part in order.parts} == {"/dev/xvda", "/dev/sdf", "/dev/sdg"}

    def test_a_snapshot_says_which_policy_and_instance_it_is_of(self, stage: Stage) -> None:
        instance = stage.plant()
        (begun,) = stage.carry_out(stage.plan(instance))
        for snapshot in describe(
            stage, "DescribeSnapshots", "Snapshots", SnapshotIds=list(begun.refs.values())
        ):
            for word in ("a-policy", instance.resource_id, "/dev/sdg"):
                assert word in snapshot["Description"]

    def test_more_tags_than_fit_are_cut_without_a_second_snapshot(self, stage: Stage) -> None:
        ((instance_id, options), _) = special_instances(stage)
        instance = described(stage, instance_id)
        begun, _ = stage.carry_out(stage.plan(instance, options))
        (snapshot_id,) = begun.refs.values()
        carried = tags_of(stage, snapshot_id)
        assert len(carried) == tags.MOST_TAGS
        assert begun.ask.marks.items() <= carried.items()
        assert carried["team"] == "red"

    def test_snapshots_of_a_recovered_instance_carry_their_own_token(self, stage: Stage) -> None:
        source = stage.back_up(stage.plant())
        made = recovered(stage, source, {})
        again = described(stage, made["run"]["instance"])
        begun, _ = stage.carry_out(stage.plan(again))
        for snapshot_id in begun.refs.values():
            carried = tags_of(stage, snapshot_id)
            assert carried[tags.TOKEN] == begun.ask.token
            assert carried["team"] == "red"

    def test_a_terminated_instance_does_not_exist(self, stage: Stage) -> None:
        instance = stage.plant()
        stage.hand.call("ec2", "TerminateInstances", InstanceIds=[instance.resource_id])
        assert list(stage.driver.describe(stage.aws, [instance.resource_id])) == []
        assert list(stage.driver.discover(stage.aws)) == []


class TestRecovery:
    """How an instance comes back."""

    @pytest.fixture
    def original(self, stage: Stage) -> Resource:
        return stage.plant()

    @pytest.fixture
    def source(self, stage: Stage, original: Resource) -> Source:
        return stage.back_up(original)

    def test_after_a_disaster_it_has_its_old_address(
        self, stage: Stage, original: Resource, source: Source
    ) -> None:
        self._terminate(stage, original)
        made = recovered(stage, source, {})
        instance = instance_of(stage, made["run"]["instance"])
        assert instance["PrivateIpAddress"] == original.facts["private_ip"]
        assert instance["SubnetId"] == original.facts["subnet_id"]

    def test_beside_the_original_it_has_another_address(
        self, stage: Stage, original: Resource, source: Source
    ) -> None:
        made = recovered(stage, source, {})
        instance = instance_of(stage, made["run"]["instance"])
        assert instance["PrivateIpAddress"] != original.facts["private_ip"]

    def test_what_only_the_original_knows_comes_along_while_it_is_there(
        self, stage: Stage, source: Source
    ) -> None:
        script = "#!/bin/sh\necho hällo\n"
        first = recovered(stage, source, {"user_data": script, "shutdown_behavior": "terminate"})
        source = stage.back_up(described(stage, first["run"]["instance"]))
        second = recovered(stage, source, {})["run"]["instance"]
        assert base64.b64decode(attribute_of(stage, second, "userData")).decode() == script
        behaviour = attribute_of(stage, second, "instanceInitiatedShutdownBehavior")
        assert behaviour == "terminate"

    def test_as_many_as_wanted_are_launched(self, stage: Stage, source: Source) -> None:
        made = recovered(stage, source, {"number_of_instances": 3})
        assert len(set(made["run"].values())) == 3

    def test_volumes_can_be_left_out_and_changed(self, stage: Stage, source: Source) -> None:
        devices = [
            {"device": "/dev/sdf", "skip": True},
            {"device": "/dev/xvda", "size_gib": 30, "delete_on_termination": False},
        ]
        made = recovered(stage, source, {"block_devices": devices})
        instance = instance_of(stage, made["run"]["instance"])
        mappings = {each["DeviceName"]: each["Ebs"] for each in instance["BlockDeviceMappings"]}
        assert set(mappings) == {"/dev/xvda", "/dev/sdg"}
        assert volume_of(stage, mappings["/dev/xvda"]["VolumeId"])["Size"] == 30
        assert mappings["/dev/xvda"]["DeleteOnTermination"] is False

    def test_each_volume_is_of_its_own_snapshot(self, stage: Stage, source: Source) -> None:
        made = recovered(stage, source, {})
        instance = instance_of(stage, made["run"]["instance"])
        found = {
            each["DeviceName"]: volume_of(stage, each["Ebs"]["VolumeId"])["SnapshotId"]
            for each in instance["BlockDeviceMappings"]
        }
        assert found == {copy.device: copy.aws_ref for copy in source.copies}

    def test_no_image_is_left(self, stage: Stage, source: Source) -> None:
        recovered(stage, source, {})
        assert stage.hand.call("ec2", "DescribeImages", Owners=["self"])["Images"] == []
        snapshots = describe(stage, "DescribeSnapshots", "Snapshots", OwnerIds=["self"])
        assert {each["SnapshotId"] for each in snapshots} == {
            copy.aws_ref for copy in source.copies
        }

    @pytest.mark.parametrize(
        ("options", "field", "code"),
        [
            ({"instance_type": "t3.nonsense"}, "instance_type", "invalid_choice"),
            ({"instance_type": "m6g.large"}, "instance_type", "invalid"),
            ({"key_pair": "nobodys"}, "key_pair", "does_not_exist"),
            ({"subnet": "subnet-0123456789abcdef0"}, "subnet", "does_not_exist"),
            ({"security_groups": ["sg-0123456789abcdef0"]}, "security_groups", "does_not_exist"),
            ({"vpc_assign_ip": "10.99.0.1"}, "vpc_assign_ip", "invalid"),
            ({"vpc_assign_ip": "nonsense"}, "vpc_assign_ip", "invalid"),
            ({"vpc_assign_ip": "172.31.0.1"}, "vpc_assign_ip", "invalid"),
            ({"iam_role": "nobodys"}, "iam_role", "does_not_exist"),
            ({"instance_type": "t2.micro", "ebs_optimized": True}, "ebs_optimized", "invalid"),
            ({"launch_from": "I"}, "launch_from", "invalid"),
            (
                {"block_devices": [{"device": "/dev/xvda", "volume_type": "sc1"}]},
                "block_devices.0.volume_type",
                "invalid",
            ),
            (
                {"block_devices": [{"device": "/dev/sdz"}]},
                "block_devices.0.device",
                "invalid_choice",
            ),
            (
                {"block_devices": [{"device": "/dev/xvda", "skip": True}]},
                "block_devices.0.skip",
                "invalid",
            ),
            (
                {"block_devices": [{"device": "/dev/sdf"}, {"device": "/dev/sdg", "size_gib": 1}]},
                "block_devices.1.size_gib",
                "min_value",
            ),
            (
                {"block_devices": [{"device": "/dev/sdf"}, {"device": "/dev/sdf"}]},
                "block_devices.1.device",
                "unique",
            ),
            ({"additional_tags": {"": "x"}}, "additional_tags", "invalid"),
        ],
    )
    def test_what_cannot_be_is_refused_before_anything_is_made(
        self, stage: Stage, source: Source, options: Json, field: str, code: str
    ) -> None:
        assert refusal_of(stage, source, options) == (field, code)

    def test_an_address_that_is_taken_is_refused(
        self, stage: Stage, original: Resource, source: Source
    ) -> None:
        options = {"vpc_assign_ip": original.facts["private_ip"]}
        assert refusal_of(stage, source, options) == ("vpc_assign_ip", "invalid")

    def test_several_instances_cannot_have_one_address(self, stage: Stage, source: Source) -> None:
        options = {"vpc_assign_ip": "172.31.0.200", "number_of_instances": 2}
        assert refusal_of(stage, source, options) == ("vpc_assign_ip", "invalid")

    def test_a_group_of_another_vpc_is_refused(self, stage: Stage, source: Source) -> None:
        hand = stage.hand
        vpc_id = hand.call("ec2", "CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        group_id = hand.call(
            "ec2", "CreateSecurityGroup", GroupName="far", Description="far", VpcId=vpc_id
        )["GroupId"]
        options = {"security_groups": [group_id]}
        assert refusal_of(stage, source, options) == ("security_groups", "invalid")

    def test_a_network_that_is_gone_has_to_be_chosen_anew(
        self, stage: Stage, source: Source
    ) -> None:
        gone = changed(source, subnet_id="subnet-0123456789abcdef0")
        assert refusal_of(stage, gone, {}) == ("subnet", "required")

    def test_what_the_original_had_and_is_gone_is_left_out_and_told(
        self, stage: Stage, source: Source
    ) -> None:
        profile = "arn:aws:iam::300000000001:instance-profile/gone"
        gone = changed(
            source,
            key_name="old-key",
            iam_profile_arn=profile,
            placement={"GroupName": "old-group"},
            security_groups=["sg-0123456789abcdef0"],
        )
        orders = stage.plan_recovery(gone, {})
        told = [note for order in orders for note in order.notes]
        for word in ("old-key", profile, "old-group", "sg-0123456789abcdef0"):
            assert any(word in note for note in told), word
        stage.carry_out(orders)
        (instance,) = self._others(stage, source)
        assert not instance.keys() & {"KeyName", "IamInstanceProfile"}
        assert [group["GroupName"] for group in instance["SecurityGroups"]] == ["default"]

    def test_of_several_groups_those_that_are_left_are_taken(
        self, stage: Stage, source: Source
    ) -> None:
        (group,) = source.facts["security_groups"]
        some = changed(source, security_groups=["sg-0123456789abcdef0", group])
        made = recovered(stage, some, {})
        instance = instance_of(stage, made["run"]["instance"])
        assert [each["GroupId"] for each in instance["SecurityGroups"]] == [group]

    def test_elsewhere_it_has_nothing_of_its_old_network(
        self, stage: Stage, source: Source
    ) -> None:
        stage.hand.call("ec2", "CreateKeyPair", KeyName="ops")
        moved = replace(
            changed(source, key_name="ops", subnet_id="subnet-0123456789abcdef0"),
            is_elsewhere=True,
        )
        orders = stage.plan_recovery(moved, {})
        assert any("elsewhere" in note for order in orders for note in order.notes)
        stage.carry_out(orders)
        (instance,) = self._others(stage, source)
        assert "KeyName" not in instance
        assert instance["PrivateIpAddress"] != source.facts["private_ip"]

    def _others(self, stage: Stage, source: Source) -> list[Json]:
        """The instances beside the original."""
        reservations = stage.hand.call("ec2", "DescribeInstances")["Reservations"]
        instances = [each for one in reservations for each in one["Instances"]]
        return [each for each in instances if each["InstanceId"] != source.resource_id]

    def test_a_backup_without_the_root_volume_makes_no_instance(
        self, stage: Stage, original: Resource
    ) -> None:
        options = {"volumes_mode": "E", "volumes": ids_at(original, "/dev/xvda")}
        source = stage.source(original, stage.carry_out(stage.plan(original, options)))
        assert refusal_of(stage, source, {}) == ("non_field_errors", "invalid")

    def test_a_volume_whose_snapshot_failed_is_not_silently_left_out(
        self, stage: Stage, source: Source
    ) -> None:
        good = [copy for copy in source.copies if copy.device != "/dev/sdf"]
        partial = replace(source, copies=good)
        assert refusal_of(stage, partial, {}) == ("block_devices", "required")
        without = {"block_devices": [{"device": "/dev/sdf", "skip": True}]}
        made = recovered(stage, partial, without)
        instance = instance_of(stage, made["run"]["instance"])
        devices = {each["DeviceName"] for each in instance["BlockDeviceMappings"]}
        assert devices == {"/dev/xvda", "/dev/sdg"}

    def test_a_volume_that_was_not_to_be_protected_is_not_missed(
        self, stage: Stage, original: Resource
    ) -> None:
        options = {"volumes_mode": "E", "volumes": ids_at(original, "/dev/sdf")}
        source = stage.source(original, stage.carry_out(stage.plan(original, options)))
        made = recovered(stage, source, {})
        instance = instance_of(stage, made["run"]["instance"])
        assert len(instance["BlockDeviceMappings"]) == 2

    def test_windows_needs_an_image(self, stage: Stage, source: Source) -> None:
        windows = changed(source, platform="windows")
        assert refusal_of(stage, windows, {}) == ("launch_from", "invalid")

    def _terminate(self, stage: Stage, instance: Resource) -> None:
        stage.hand.call("ec2", "TerminateInstances", InstanceIds=[instance.resource_id])
        assert clock.wait_until(
            lambda: instance_of(stage, instance.resource_id)["State"]["Name"] == "terminated",
            timeout_seconds=DEADLINE_SECONDS,
        )


def changed(source: Source, **facts: Any) -> Source:
    """The same backup, of an instance with other facts."""
    return replace(source, facts={**source.facts, **facts})
