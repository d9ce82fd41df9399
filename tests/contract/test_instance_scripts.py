"""Scripts on an instance, and VSS: what the agent is told, and what becomes of the copies."""

from functools import partial
from typing import Any

import pytest

from cpm.aws import tags
from cpm.kernel.faults import FaultKind
from cpm.resources.contract import Json, Once, OptionRefused, Order, Resource, State, Verdict
from cpm.testing.stage import Begun, Stage, fault_of
from tests.contract.conftest import Staging
from tests.contract.ec2 import describe, image_of, seed, snapshots_with, tags_of

SCRIPTS = {"agent_enabled": True, "scripts_enabled": True}
VSS = {"agent_enabled": True, "vss_enabled": True}


@pytest.fixture
def stage(staged: Staging) -> Stage:
    return staged("ec2_instance")


def plant(stage: Stage, platform: str = "") -> Resource:
    """An instance with three volumes and an agent."""
    planted = seed(stage, instances=1, volumes_per=3, platform=platform)
    stage.simulator.agents(stage.account_number)
    (found,) = stage.driver.describe(stage.aws, planted["instances"])
    return found


def steps(orders: list[Order]) -> list[tuple[str, str, str]]:
    return [(order.step, order.after, order.once) for order in orders]


def sent(stage: Stage) -> list[Json]:
    """The parameters of the commands that were sent, in order."""
    return [call.parameters for call in stage.aws.calls if call.operation == "SendCommand"]


def lines(command: Json) -> str:
    return "\n".join(command["Parameters"]["commands"])


def last(stage: Stage, begun: Begun) -> Verdict:
    (verdict,) = stage.settle(begun).values()
    return verdict


def begin_before(stage: Stage) -> Begun:
    """A script before the copies, sent."""
    return stage.begin(stage.plan(plant(stage), SCRIPTS)[0])


def test_scripts_run_around_the_copies_whatever_becomes_of_each(stage: Stage) -> None:
    assert steps(stage.plan(plant(stage), SCRIPTS)) == [
        ("before", "", Once.DONE),
        ("snapshots", "before", Once.OVER),
        ("after", "snapshots", Once.UNDER_WAY),
        ("complete", "after", Once.OVER),
    ]


@pytest.mark.parametrize(
    "options",
    [{}, {"agent_enabled": True}, {"scripts_enabled": True}, {"vss_enabled": True}],
    ids=" ".join,
)
def test_the_agent_alone_and_options_without_it_change_nothing(stage: Stage, options: Json) -> None:
    planted = plant(stage, "windows")
    assert [order.step for order in stage.plan(planted, options)] == ["snapshots"]


def test_nothing_is_brought_to_a_halt_on_an_instance_that_stands_still(stage: Stage) -> None:
    planted = plant(stage, "windows")
    stage.hand.call("ec2", "StopInstances", InstanceIds=[planted.resource_id])
    (stopped,) = stage.driver.describe(stage.aws, [planted.resource_id])
    assert [order.step for order in stage.plan(stopped, SCRIPTS | VSS)] == ["snapshots"]


def test_a_shell_script_of_the_policy_is_run_in_its_time(stage: Stage) -> None:
    planted = plant(stage)
    stage.carry_out(stage.plan(planted, {**SCRIPTS, "script_timeout": 77}))
    before, after, complete = sent(stage)
    assert {each["DocumentName"] for each in sent(stage)} == {"AWS-RunShellScript"}
    assert before["InstanceIds"] == [planted.resource_id]
    assert before["Parameters"]["executionTimeout"] == ["77"]
    assert "script=/opt/cpm/scripts/before_a-policy\n" in lines(before)
    assert "CPM_BACKUP_ID='7'" in lines(before)
    assert lines(before).endswith('exec "$script"')
    assert "after_a-policy" in lines(after)
    assert lines(after).endswith('exec "$script" 1')
    assert "complete_a-policy" in lines(complete)


def test_windows_runs_a_powershell_script(stage: Stage) -> None:
    stage.carry_out(stage.plan(plant(stage, "windows"), SCRIPTS))
    _, after, _ = sent(stage)
    assert after["DocumentName"] == "AWS-RunPowerShellScript"
    assert "CPM\\scripts\\after_a-policy.ps1" in lines(after)
    assert "& $script 1\nexit $LASTEXITCODE" in lines(after)


def test_scripts_are_told_what_went_wrong_before_them(stage: Stage) -> None:
    _, _, after, complete = stage.plan(plant(stage), SCRIPTS)
    for failed, told in [("before", "0 1"), ("snapshots", "0 0"), ("", "1 1")]:
        for order in (after, complete):
            ask = stage.ask(order)
            known = type(ask)(ask.spec, ask.token, ask.marks, failed=frozenset({failed} - {""}))
            stage.driver.effect(order.effect).start(stage.aws, known)
        arguments = [lines(command).split()[-1] for command in sent(stage)[-2:]]
        assert " ".join(arguments) == told


def test_a_command_whose_answer_was_lost_is_found_and_not_sent_again(stage: Stage) -> None:
    order = stage.plan(plant(stage), SCRIPTS)[0]
    effect, ask = stage.driver.effect(order.effect), stage.ask(order)
    assert effect.find is not None
    with stage.faults({"op": "ssm:SendCommand", "kind": "lost", "times": 1}):
        fault = fault_of(partial(effect.start, stage.aws, ask))
    assert fault.kind is FaultKind.UNKNOWN
    found = effect.find(stage.aws, ask)
    assert found is not None
    (verdict,) = stage.watch(effect.watch, found.values()).values()
    assert verdict.state is State.DONE
    assert effect.find(stage.aws, stage.ask(order)) is None


def test_a_command_is_pending_until_it_is_over(stage: Stage) -> None:
    stage.simulator.commands(stage.account_number, {"seconds": 3600})
    begun = begin_before(stage)
    assert {each.state for each in stage.poll(begun).values()} == {State.PENDING}


def test_what_a_script_wrote_is_told_and_why_it_failed(stage: Stage) -> None:
    stage.simulator.commands(
        stage.account_number,
        {"status": "Failed", "output": "trying\n", "error": "cannot lock\n", "exit_code": 3},
    )
    verdict = last(stage, begin_before(stage))
    assert verdict.state is State.FAILED
    assert verdict.reason == "exit status 3: cannot lock"
    assert verdict.output == "trying\ncannot lock\n"


def test_a_script_that_ran_too_long_was_ended(stage: Stage) -> None:
    stage.simulator.commands(stage.account_number, {"status": "TimedOut"})
    assert last(stage, begin_before(stage)).reason == "it was ended (ExecutionTimedOut)"


def test_a_command_that_aws_does_not_know_is_gone(stage: Stage) -> None:
    unknown = "0c2e4b1a-0000-0000-0000-000000000000 i-0123456789abcdef0"
    assert stage.watch("ssm_command", [unknown])[unknown].state is State.GONE


def test_an_instance_without_an_agent_refuses_at_once(stage: Stage) -> None:
    planted = plant(stage)
    stage.simulator.agents(stage.account_number, [])
    fault = fault_of(partial(stage.begin, stage.plan(planted, SCRIPTS)[0]))
    assert (fault.kind, fault.code) == (FaultKind.INVALID, "InvalidInstanceId")


def test_what_follows_an_ami_waits_until_its_snapshots_have_begun(stage: Stage) -> None:
    image, after = stage.plan(plant(stage), {**SCRIPTS, "backup_option": "N"})[1:3]
    stage.simulator.config(pending=3600)
    begun = stage.begin(image)
    (image_id,) = begun.refs.values()
    earlier = {"image": begun.refs}
    made = [each["Ebs"]["SnapshotId"] for each in image_of(stage, image_id)["BlockDeviceMappings"]]
    assert stage.begin(after, earlier).refs
    # As long as AWS does not list all of them.
    stage.hand.call("ec2", "DeleteTags", Resources=made[:1], Tags=[{"Key": tags.TOKEN}])
    assert fault_of(partial(stage.begin, after, earlier)).kind is FaultKind.TRANSIENT


def test_a_rebooted_instance_is_given_time_to_be_back(stage: Stage) -> None:
    orders = stage.plan(plant(stage), {**SCRIPTS, "backup_option": "A"})
    assert [order.step for order in orders] == ["before", "image", "after", "complete"]
    assert orders[0].spec["reach_seconds"] == 60
    assert orders[2].spec["reach_seconds"] == 1800


def test_many_single_snapshots_are_made_one_after_the_other(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpm.resources.ec2_instance._MOST_EXCLUDED", -1)
    assert steps(stage.plan(plant(stage), SCRIPTS)) == [
        ("before", "", Once.DONE),
        ("copy0", "before", Once.OVER),
        ("copy1", "copy0", Once.UNDER_WAY),
        ("copy2", "copy1", Once.UNDER_WAY),
        ("after", "copy2", Once.UNDER_WAY),
        ("complete", "after", Once.OVER),
    ]


# --- VSS -----------------------------------------------------------------------------------------


def by_step(orders: list[Order], begun: list[Begun]) -> dict[str, Any]:
    return {order.step: each for order, each in zip(orders, begun, strict=True)}


def test_vss_makes_the_snapshots_and_those_are_the_instances(stage: Stage) -> None:
    planted = plant(stage, "windows")
    orders = stage.plan(planted, VSS)
    made = by_step(orders, stage.carry_out(orders))
    assert list(made) == ["vss", "vss_snapshots", "snapshots", "tags", "vss_rest"]
    snapshots = made["snapshots"]
    assert set(snapshots.refs) == {volume["volume_id"] for volume in planted.facts["volumes"]}
    assert "CreateSnapshots" not in [call.operation for call in stage.aws.calls]
    for volume_id, snapshot_id in snapshots.refs.items():
        carried = tags_of(stage, snapshot_id)
        assert carried["AppConsistent"] == "True"
        assert carried[tags.BACKUP_ID] == "7"
        assert carried[tags.TOKEN] == made["vss"].ask.token
        assert carried["Name"] == tags_of(stage, volume_id)["Name"]


def test_volumes_that_are_left_out_lose_what_vss_has_made_of_them(stage: Stage) -> None:
    planted = plant(stage, "windows")
    root, first, second = (volume["volume_id"] for volume in planted.facts["volumes"])
    left_out = {"volumes_mode": "E", "volumes": [root, first]}
    orders = stage.plan(planted, {**VSS, **left_out})
    made = by_step(orders, stage.carry_out(orders))
    (command,) = sent(stage)
    assert command["Parameters"]["ExcludeBootVolume"] == ["True"]
    assert set(made["snapshots"].refs) == {second}
    assert snapshots_with(stage, made["vss"].ask.token) == [made["snapshots"].refs[second]]


def test_without_vss_ordinary_snapshots_are_made_and_its_remains_deleted(stage: Stage) -> None:
    planted = plant(stage, "windows")
    stage.simulator.commands(stage.account_number, {"status": "Failed", "error": "VSS_E_WRITER"})
    command, made, snapshots, _, rest = stage.plan(planted, VSS)
    begun = stage.begin(command)
    assert "VSS_E_WRITER" in last(stage, begun).reason
    tokens = {"vss": begun.ask.token}
    assert fault_of(partial(stage.begin, made, {}, tokens)).kind is FaultKind.TRANSIENT
    ordinary = stage.begin(snapshots, {"vss": begun.refs, "vss_snapshots": {}}, tokens)
    assert len(snapshots_with(stage, begun.ask.token)) == 3
    stage.begin(rest, {"snapshots": ordinary.refs}, tokens)
    assert snapshots_with(stage, begun.ask.token) == []
    assert sorted(snapshots_with(stage, ordinary.ask.token)) == sorted(ordinary.refs.values())
    left = describe(stage, "DescribeSnapshots", "Snapshots", OwnerIds=["self"])
    assert len(left) == 3


def test_scripts_run_around_vss(stage: Stage) -> None:
    orders = stage.plan(plant(stage, "windows"), SCRIPTS | VSS)
    assert steps(orders) == [
        ("before", "", Once.DONE),
        ("vss", "before", Once.OVER),
        ("vss_snapshots", "vss", Once.DONE),
        ("snapshots", "vss_snapshots", Once.OVER),
        ("tags", "snapshots", Once.DONE),
        ("vss_rest", "snapshots", Once.OVER),
        ("after", "snapshots", Once.UNDER_WAY),
        ("complete", "after", Once.OVER),
    ]


@pytest.mark.parametrize(
    ("platform", "options"),
    [
        ("", VSS),
        ("windows", {"vss_enabled": True}),
        ("windows", {**VSS, "backup_option": "N"}),
    ],
    ids=["Linux", "no agent", "AMIs"],
)
def test_vss_is_refused_where_there_is_none(stage: Stage, platform: str, options: Json) -> None:
    planted = plant(stage, platform)
    check, wanted = stage.driver.check_target, stage.driver.target_options(**options)
    assert check is not None
    with pytest.raises(OptionRefused) as refused:
        check(stage.aws, planted, wanted)
    assert (refused.value.field, refused.value.code) == ("vss_enabled", "invalid")
