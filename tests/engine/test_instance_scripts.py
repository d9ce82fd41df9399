"""Scripts on instances, and VSS: the agent takes part, and the record tells when it did not."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cpm.engine import tick
from cpm.models.backups import Backup, BackupOutcome
from cpm.models.events import Event
from cpm.models.policies import Policy, SuccessIndication
from tests.engine.world import World, instance_target, log_of, refs_of

SUCCEEDED, PARTIAL, FAILED = BackupOutcome.SUCCEEDED, BackupOutcome.PARTIAL, BackupOutcome.FAILED
SCRIPTS = {"agent_enabled": True, "scripts_enabled": True}
VSS = {"agent_enabled": True, "vss_enabled": True}


@pytest.fixture
def rare_polls(world: World, settings: Any) -> None:
    """Time goes faster than calls may be made."""
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, poll_seconds=30)


def plant(world: World, platform: str = "") -> str:
    """An instance with two volumes and an agent."""
    (instance_id,) = world.seed(instances=1, volumes_per=2, platform=platform)["instances"]
    world.simulator.agents(world.credentials.account)
    return str(instance_id)


def policy_of(world: World, instance_id: str, options: dict[str, Any], **columns: Any) -> Policy:
    return world.policy(instance_target(instance_id, **options), **columns)


def answer(world: World, **outcome: Any) -> None:
    """Let commands end like this; without anything, well."""
    world.simulator.commands(world.credentials.account, *([outcome] if outcome else []))


def commands(world: World) -> list[str]:
    """The last lines of the scripts that agents were sent, the first sent first."""
    ssm = world.client("ssm")
    pages = ssm.get_paginator("list_commands").paginate()
    sent = [command for page in pages for command in page["Commands"]]
    sent.sort(key=lambda command: command["RequestedDateTime"])
    return [_called(command["Parameters"].get("commands", ["vss"])) for command in sent]


def _called(lines: list[str]) -> str:
    """`before`, or `after 1`."""
    if lines == ["vss"]:
        return "vss"
    hook = re.split(r"[/\\]", lines[0])[-1].partition("_")[0]
    argument = lines[-1].removeprefix('exec "$script"')
    return hook + argument


def errors(backup: Backup) -> dict[str, str]:
    """Why steps failed, by effect, as the log says it."""
    failed = Event.objects.filter(backup=backup, code="step_failed").order_by("pk")
    return {event.values["effect"]: event.values["error"] for event in failed}


def made(world: World, backup: Backup) -> list[dict[str, str]]:
    """The tags of the snapshots that AWS has of a backup."""
    found = world.snapshots_in_aws(cpm_backup_id=str(backup.pk))
    return [{tag["Key"]: tag["Value"] for tag in each["Tags"]} for each in found]


def test_scripts_run_before_and_after_the_start_of_the_snapshots_and_at_their_end(
    world: World,
) -> None:
    policy = policy_of(world, plant(world), SCRIPTS)
    world.simulator.config(pending=100_000)
    answer(world, seconds=0)
    backup = tick.run_now(policy)
    while "after 1" not in commands(world):
        world.work()
        assert world.next_look()
    assert commands(world) == ["before", "after 1"]
    assert len(made(world, backup)) == 2
    world.simulator.finish()
    world.drain()
    backup.refresh_from_db()
    assert commands(world) == ["before", "after 1", "complete 1"]
    assert backup.outcome == SUCCEEDED


def test_a_before_script_that_fails_costs_no_snapshot_and_the_instance_is_repeated(
    world: World,
) -> None:
    instance_id = plant(world)
    policy = policy_of(world, instance_id, SCRIPTS, retry_count=1, retry_wait_minutes=1)
    answer(world, contains="before_", status="Failed", error="cannot lock", exit_code=3)
    backup = world.backup(policy)
    assert backup.outcome == PARTIAL
    assert backup.snapshots.count() == 2
    assert commands(world) == ["before", "after 0", "complete 1"]
    (error,) = errors(backup).values()
    assert error.endswith(f"{instance_id}: exit status 3: cannot lock")
    answer(world)
    world.pass_time(timedelta(minutes=2))
    repeat = Backup.objects.exclude(pk=backup.pk).get()
    assert (repeat.outcome, repeat.snapshots.count()) == (SUCCEEDED, 2)


def test_a_failing_script_is_only_told_of_where_snapshots_alone_count(world: World) -> None:
    indication = {"backup_success_indication": SuccessIndication.SNAPSHOTS, "retry_count": 3}
    policy = policy_of(world, plant(world), SCRIPTS, **indication)
    answer(world, contains="after_", status="Failed")
    backup = world.backup(policy)
    assert backup.outcome == SUCCEEDED
    assert list(errors(backup)) == ["after_script"]


def test_a_script_is_given_the_policys_time_or_the_targets_own(world: World) -> None:
    policy = policy_of(world, plant(world), SCRIPTS, agent_script_timeout_seconds=77)
    backup = world.backup(policy)
    before = backup.operations.get(step="before")
    assert before.spec["timeout_seconds"] == 77
    policy.targets.update(options={**SCRIPTS, "script_timeout": 5})
    before = world.backup(policy).operations.get(step="before")
    assert before.spec["timeout_seconds"] == 5


def test_what_scripts_write_is_in_the_log_where_it_is_collected(world: World) -> None:
    answer(world, contains="before_", output="frozen\0\n", error="slowly\n")
    policy = policy_of(world, plant(world), SCRIPTS)
    assert "step_output" not in log_of(world.backup(policy))
    policy.collect_script_output = True
    policy.save()
    (line,) = Event.objects.filter(backup=world.backup(policy), code="step_output")
    assert line.values["effect"] == "before_script"
    assert line.values["output"] == "frozen\N{REPLACEMENT CHARACTER}\nslowly\n"


@pytest.mark.parametrize("agents", [[], "lost"], ids=["none", "lost"])
def test_an_instance_whose_agent_does_not_answer_is_protected_all_the_same(
    world: World, agents: Any, rare_polls: None
) -> None:
    instance_id = plant(world)
    lost = [{"instance_id": instance_id, "online": False}] if agents else []
    world.simulator.agents(world.credentials.account, lost)
    backup = world.backup(policy_of(world, instance_id, SCRIPTS))
    assert backup.outcome == PARTIAL
    assert backup.snapshots.count() == 2
    assert list(errors(backup)) == ["before_script", "after_script", "complete_script"]


@pytest.mark.parametrize(
    "rule",
    [
        {"op": "ssm:SendCommand", "kind": "throttle"},
        {"op": "ssm:SendCommand", "kind": "denied"},
        {"op": "ssm:ListCommandInvocations", "kind": "denied"},
        {"op": "ssm:GetCommandInvocation", "kind": "503"},
    ],
    ids=lambda rule: " ".join(rule.values()),
)
def test_systems_manager_keeps_no_snapshot_waiting_for_long(
    world: World, rule: dict[str, str], rare_polls: None
) -> None:
    policy = policy_of(world, plant(world), SCRIPTS, agent_script_timeout_seconds=1)
    world.simulator.faults([rule])
    backup = world.backup(policy)
    assert backup.outcome == PARTIAL
    assert backup.snapshots.count() == 2
    assert backup.finished_at is not None
    assert backup.finished_at - backup.started_at < timedelta(minutes=30)


def test_vss_makes_the_snapshots_of_windows(world: World) -> None:
    backup = world.backup(policy_of(world, plant(world, "windows"), SCRIPTS | VSS))
    assert backup.outcome == SUCCEEDED
    assert [tags["AppConsistent"] for tags in made(world, backup)] == ["True", "True"]
    found = world.snapshots_in_aws(cpm_backup_id=str(backup.pk))
    assert {each["SnapshotId"] for each in found} == refs_of(backup)
    assert commands(world)[1] == "vss"
    assert "ec2:CreateSnapshots" not in world.simulator.counts()


def test_where_vss_fails_ordinary_snapshots_are_made_and_the_record_says_so(world: World) -> None:
    policy = policy_of(world, plant(world, "windows"), VSS)
    answer(world, status="Failed", error="VSS_E_WRITER_INFRASTRUCTURE", exit_code=1)
    backup = world.backup(policy)
    assert backup.outcome == PARTIAL
    assert "VSS_E_WRITER_INFRASTRUCTURE" in errors(backup)["vss_command"]
    assert ["AppConsistent" in tags for tags in made(world, backup)] == [False, False]
    found = world.snapshots_in_aws(cpm_backup_id=str(backup.pk))
    assert {each["SnapshotId"] for each in found} == refs_of(backup)
    assert len(refs_of(backup)) == 2


def test_a_volume_that_vss_leaves_out_is_taken_otherwise_and_told_of(world: World) -> None:
    instance_id = plant(world, "windows")
    policy = policy_of(world, instance_id, VSS)
    backup = tick.run_now(policy)
    while backup.operations.filter(step="vss", refs={}).exists() or not backup.operations.exists():
        world.work()
        assert world.next_look()
    made_by_vss = made(world, backup)
    assert len(made_by_vss) == 2
    gone = world.snapshots_in_aws(cpm_backup_id=str(backup.pk))[0]["SnapshotId"]
    world.ec2().delete_snapshot(SnapshotId=gone)
    world.drain()
    backup.refresh_from_db()
    assert backup.outcome == PARTIAL
    assert "VSS has made no snapshot of" in errors(backup)["vss_snapshots"]
    assert ["AppConsistent" in tags for tags in made(world, backup)] == [False, False]


def test_scripts_run_around_an_ami(world: World) -> None:
    backup = world.backup(policy_of(world, plant(world), {**SCRIPTS, "backup_option": "N"}))
    assert backup.outcome == SUCCEEDED
    assert commands(world) == ["before", "after 1", "complete 1"]
