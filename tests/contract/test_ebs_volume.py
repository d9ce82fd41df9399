"""EBS volumes: what snapshots carry and cost, and what a recovery refuses before it begins."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from cpm.aws import tags
from cpm.resources.contract import Json, OptionRefused, State
from cpm.resources.copied import Source
from cpm.testing.stage import REGION, Stage
from tests.contract.conftest import Staging
from tests.contract.ec2 import KEY, ZONE, describe, seed, stopped_instance, tags_of, volume_of


@pytest.fixture
def stage(staged: Staging) -> Stage:
    return staged("ebs_volume")


def refusal_of(stage: Stage, source: Source, options: Json) -> tuple[str, str]:
    with pytest.raises(OptionRefused) as refused:
        stage.plan_recovery(source, options)
    return refused.value.field, refused.value.code


def counted(stage: Stage, work: Callable[[], object]) -> Mapping[str, int]:
    """The calls that `work` makes, by operation."""
    before = len(stage.aws.calls)
    work()
    made = [call.operation for call in stage.aws.calls[before:]]
    return {operation: made.count(operation) for operation in made}


def test_a_snapshot_is_one_call(stage: Stage) -> None:
    orders = stage.plan(stage.plant())
    assert counted(stage, lambda: [stage.begin(order) for order in orders]) == {"CreateSnapshot": 1}


def test_a_snapshot_says_which_policy_wanted_it_and_where_its_volume_was(stage: Stage) -> None:
    planted = seed(stage, instances=1, volumes_per=2)
    (instance_id,) = planted["instances"]
    volume_id = planted["volumes"][instance_id][1]
    (volume,) = stage.driver.describe(stage.aws, [volume_id])
    (begun,) = stage.carry_out(stage.plan(volume))
    (snapshot,) = describe(
        stage, "DescribeSnapshots", "Snapshots", SnapshotIds=list(begun.refs.values())
    )
    for word in ("a-policy", volume_id, instance_id, volume.facts["device"]):
        assert word in snapshot["Description"]


def test_ours_fit_where_a_volume_has_as_many_tags_as_aws_allows(stage: Stage) -> None:
    volume = stage.plant()
    many = {f"key-{number:02}": "value" for number in range(48)}
    stage.hand.call("ec2", "CreateTags", Resources=[volume.resource_id], Tags=tags.to_aws(many))
    (volume,) = stage.driver.describe(stage.aws, [volume.resource_id])
    (begun,) = stage.carry_out(stage.plan(volume))
    carried = tags_of(stage, begun.refs[volume.resource_id])
    assert len(carried) == tags.MOST_TAGS
    assert begun.ask.marks.items() <= carried.items()
    assert carried["Name"] == "data"


def test_a_snapshot_of_a_recovered_volume_carries_its_own_token(stage: Stage) -> None:
    source = stage.back_up(stage.plant())
    (made,) = stage.carry_out(stage.plan_recovery(source, {}))
    (recovered,) = stage.driver.describe(stage.aws, made.refs.values())
    (begun,) = stage.carry_out(stage.plan(recovered))
    assert tags_of(stage, begun.refs[recovered.resource_id])[tags.TOKEN] == begun.ask.token


def test_a_thousand_snapshots_are_watched_with_one_call(stage: Stage) -> None:
    (begun,) = stage.carry_out(stage.plan(stage.plant()))
    (known,) = begun.refs.values()
    assert counted(stage, lambda: stage.watch("ebs_snapshot", [known])) == {"DescribeSnapshots": 1}
    assert stage.driver.watch("ebs_snapshot").batch == 1000


def test_snapshots_that_are_gone_do_not_cost_a_call_each(stage: Stage) -> None:
    (begun,) = stage.carry_out(stage.plan(stage.plant()))
    (known,) = begun.refs.values()
    refs = [known, *(f"snap-{number:017x}" for number in range(999))]
    assert counted(stage, lambda: stage.watch("ebs_snapshot", refs)) == {"DescribeSnapshots": 6}
    verdicts = dict(stage.watch("ebs_snapshot", refs))
    assert verdicts.pop(known).state is State.DONE
    assert {verdict.state for verdict in verdicts.values()} == {State.GONE}
    assert len(verdicts) == 999


def test_a_volume_is_made_in_its_own_time(stage: Stage) -> None:
    source = stage.back_up(stage.plant())
    (order,) = stage.plan_recovery(source, {})
    stage.simulator.config(pending=36000)
    begun = stage.begin(order)
    assert {verdict.state for verdict in stage.poll(begun).values()} == {State.PENDING}
    (unknown,) = stage.watch("volume", [stage.rig.absent_id]).values()
    assert unknown.state is State.GONE


def test_a_volume_that_becomes_of_another_type_takes_over_no_speed_of_the_old_one(
    stage: Stage,
) -> None:
    source = stage.back_up(stage.plant())
    (made,) = stage.carry_out(stage.plan_recovery(source, {"volume_type": "gp2"}))
    assert volume_of(stage, made.refs["volume"])["VolumeType"] == "gp2"


def test_an_encrypted_volume_comes_back_under_its_key(stage: Stage) -> None:
    volume_id = stage.hand.call(
        "ec2", "CreateVolume", AvailabilityZone=ZONE, Size=4, Encrypted=True, KmsKeyId=KEY
    )["VolumeId"]
    (volume,) = stage.driver.describe(stage.aws, [volume_id])
    source = stage.back_up(volume)
    (made,) = stage.carry_out(stage.plan_recovery(source, {}))
    recovered = volume_of(stage, made.refs["volume"])
    assert recovered["Encrypted"]
    assert recovered["KmsKeyId"] == KEY
    assert refusal_of(stage, source, {"encrypted": False}) == ("encrypted", "invalid")


def test_a_volume_for_several_instances_stays_one_as_long_as_its_type_can(stage: Stage) -> None:
    shared = {"VolumeType": "io2", "Iops": 100, "MultiAttachEnabled": True}
    volume_id = stage.hand.call("ec2", "CreateVolume", AvailabilityZone=ZONE, Size=8, **shared)[
        "VolumeId"
    ]
    source = stage.back_up(next(stage.driver.describe(stage.aws, [volume_id])))
    for options, expected in (({}, True), ({"volume_type": "gp3"}, False)):
        (made,) = stage.carry_out(stage.plan_recovery(source, options))
        assert volume_of(stage, made.refs["volume"])["MultiAttachEnabled"] is expected


@pytest.mark.parametrize(
    ("options", "field", "code"),
    [
        ({"size_gib": 10}, "size_gib", "min_value"),
        ({"volume_type": "st1"}, "size_gib", "min_value"),
        ({"volume_type": "gp2", "iops": 3000}, "iops", "invalid"),
        ({"volume_type": "gp2", "throughput": 200}, "throughput", "invalid"),
        ({"availability_zone": "eu-west-1a"}, "availability_zone", "invalid_choice"),
        ({"encrypted": False, "kms_key": KEY}, "kms_key", "invalid"),
        ({"additional_tags": {"aws:x": "y"}}, "additional_tags", "invalid"),
        ({"additional_tags": {"k": "v" * 257}}, "additional_tags", "invalid"),
        ({"attach_to_instance": "i-0123456789abcdef0"}, "attach_to_instance", "does_not_exist"),
        ({"attach_to_instance": "nonsense"}, "attach_to_instance", "does_not_exist"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    stage: Stage, options: Json, field: str, code: str
) -> None:
    source = stage.back_up(stage.plant())
    assert refusal_of(stage, source, options) == (field, code)


def test_provisioned_volumes_need_a_number_of_iops(stage: Stage) -> None:
    volume_id = stage.hand.call(
        "ec2", "CreateVolume", AvailabilityZone=ZONE, Size=8, VolumeType="gp2"
    )["VolumeId"]
    source = stage.back_up(next(stage.driver.describe(stage.aws, [volume_id])))
    assert refusal_of(stage, source, {"volume_type": "io1"}) == ("iops", "required")


def test_a_snapshot_that_is_gone_is_refused(stage: Stage) -> None:
    source = stage.back_up(stage.plant())
    stage.rig.lose(stage, source.copies[0].aws_ref)
    assert refusal_of(stage, source, {}) == ("non_field_errors", "does_not_exist")


def test_a_snapshot_that_is_not_complete_is_refused(stage: Stage) -> None:
    volume = stage.plant()
    source = stage.back_up(volume)
    stage.simulator.config(pending=3600)
    begun = stage.begin(stage.plan(volume)[0])
    (copy,) = source.copies
    pending = replace(copy, aws_ref=begun.refs[volume.resource_id])
    unfinished = replace(source, copies=[pending])
    assert refusal_of(stage, unfinished, {}) == ("non_field_errors", "invalid")


class TestAttaching:
    """Volumes recovered into an instance."""

    @pytest.fixture
    def source(self, stage: Stage) -> Source:
        return stage.back_up(stage.plant())

    @pytest.fixture
    def web(self, stage: Stage) -> str:
        (instance_id,) = seed(stage, instances=1, volumes_per=2)["instances"]
        return str(instance_id)

    def test_a_free_device_of_a_running_instance_is_taken(
        self, stage: Stage, source: Source, web: str
    ) -> None:
        options = {"attach_to_instance": web, "device": "/dev/sdz", "attach_behavior": "S"}
        made, _ = stage.carry_out(stage.plan_recovery(source, options))
        (attached,) = volume_of(stage, made.refs["volume"])["Attachments"]
        assert (attached["InstanceId"], attached["Device"]) == (web, "/dev/sdz")

    def test_a_taken_device_is_refused_unless_it_may_be_switched(
        self, stage: Stage, source: Source, web: str
    ) -> None:
        options = {"attach_to_instance": web, "device": "/dev/sdf"}
        assert refusal_of(stage, source, options) == ("device", "invalid")

    def test_volumes_of_a_running_instance_are_not_switched(
        self, stage: Stage, source: Source, web: str
    ) -> None:
        options = {"attach_to_instance": web, "device": "/dev/sdf", "attach_behavior": "D"}
        assert refusal_of(stage, source, options) == ("attach_to_instance", "invalid")

    def test_a_volume_that_had_no_device_needs_one(
        self, stage: Stage, source: Source, web: str
    ) -> None:
        assert refusal_of(stage, source, {"attach_to_instance": web}) == ("device", "required")

    def test_what_is_no_device_is_refused(self, stage: Stage, source: Source, web: str) -> None:
        options = {"attach_to_instance": web, "device": "the second one"}
        assert refusal_of(stage, source, options) == ("device", "invalid")

    def test_the_zone_is_that_of_the_instance_and_no_other(
        self, stage: Stage, source: Source, web: str
    ) -> None:
        options = {
            "attach_to_instance": web,
            "device": "/dev/sdz",
            "availability_zone": f"{REGION}b",
        }
        assert refusal_of(stage, source, options) == ("availability_zone", "invalid")

    def test_an_instance_in_between_is_refused(self, stage: Stage, source: Source) -> None:
        stage.simulator.config(pending=36000)
        options = {"attach_to_instance": stopped_instance(stage), "device": "/dev/sdz"}
        assert refusal_of(stage, source, options) == ("attach_to_instance", "invalid")
