"""Scripts of the server's own run once each, in their order, in bounds, and tell the backup."""

import os
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from cpm.engine import backups, queue, tick
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupOutcome
from cpm.models.events import Event
from cpm.models.policies import Policy, SuccessIndication
from cpm.models.scripts import ScriptPhase, ScriptRun
from tests.engine.server_scripts import Scripts
from tests.engine.workers import worker_process
from tests.engine.world import OTHER_REGION, World, log_of, volume_target

SUCCEEDED, PARTIAL, FAILED = BackupOutcome.SUCCEEDED, BackupOutcome.PARTIAL, BackupOutcome.FAILED


@pytest.fixture
def scripts(world: World, settings: Any, tmp_path: Path) -> Scripts:
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, scripts=tmp_path / "scripts")
    return Scripts.of(world.user, tmp_path)


def policy_with_scripts(world: World, **columns: Any) -> Policy:
    columns = {
        "name": "nightly",
        "enable_agent_scripts": True,
        "agent_script_timeout_seconds": 20,
        **columns,
    }
    return world.policy(volume_target(world.volume()), **columns)


def failures(backup: Backup) -> dict[str, str]:
    """Why scripts failed, by hook, as the log says it."""
    failed = Event.objects.filter(backup=backup, code="script_failed").order_by("pk")
    return {event.values["hook"]: event.values["error"] for event in failed}


def test_each_script_runs_at_its_time_and_is_told_how_it_went(
    world: World, scripts: Scripts
) -> None:
    scripts.write_all("nightly")
    world.simulator.config(pending=100_000)
    policy = policy_with_scripts(world)
    backup = tick.run_now(policy)
    while scripts.told() != ["before_nightly"]:
        assert queue.run_next()
    assert world.snapshots_in_aws(cpm_backup_id=str(backup.pk)) == []
    world.work()
    assert scripts.told() == ["before_nightly", "after_nightly 1"]
    assert len(world.snapshots_in_aws(cpm_backup_id=str(backup.pk))) == 1
    world.simulator.finish()
    world.drain()
    backup.refresh_from_db()
    assert scripts.told() == ["before_nightly", "after_nightly 1", "complete_nightly 1"]
    assert backup.outcome == SUCCEEDED


def test_without_the_switch_no_script_runs(world: World, scripts: Scripts) -> None:
    scripts.write_all("nightly")
    assert world.backup(policy_with_scripts(world, enable_agent_scripts=False)).outcome == SUCCEEDED
    assert scripts.told() == []
    assert not ScriptRun.objects.exists()


def test_what_has_no_script_goes_on_without(world: World, scripts: Scripts) -> None:
    scripts.write("complete_nightly")
    scripts.write("before_weekly")
    backup = world.backup(policy_with_scripts(world))
    assert backup.outcome == SUCCEEDED
    assert scripts.told() == ["complete_nightly 1"]
    assert log_of(backup).count("script_absent") == 2


def test_a_before_script_that_fails_costs_no_snapshot_and_the_next_is_told(
    world: World, scripts: Scripts
) -> None:
    scripts.write_all("nightly")
    scripts.write("before_nightly", "echo cannot lock the tables >&2; exit 3")
    backup = world.backup(policy_with_scripts(world, retry_count=3))
    assert backup.outcome == PARTIAL
    assert backup.snapshots.count() == 1
    assert scripts.told() == ["before_nightly", "after_nightly 0", "complete_nightly 1"]
    assert failures(backup) == {"before": "exit status 3: cannot lock the tables"}
    assert backup.retry_at is None  # no resource is to be repeated


def test_a_failing_script_is_only_told_of_where_snapshots_alone_count(
    world: World, scripts: Scripts
) -> None:
    scripts.write("after_nightly", "exit 1")
    policy = policy_with_scripts(world, backup_success_indication=SuccessIndication.SNAPSHOTS)
    backup = world.backup(policy)
    assert backup.outcome == SUCCEEDED
    assert failures(backup) == {"after": "exit status 1"}


def test_scripts_are_told_of_snapshots_that_failed(world: World, scripts: Scripts) -> None:
    scripts.write_all("nightly")
    world.simulator.faults([{"op": "ec2:CreateSnapshot", "kind": "denied"}])
    assert world.backup(policy_with_scripts(world)).outcome == FAILED
    assert scripts.told() == ["before_nightly", "after_nightly 0", "complete_nightly 0"]


def test_scripts_run_again_when_what_failed_is_repeated(world: World, scripts: Scripts) -> None:
    scripts.write_all("nightly")
    policy = policy_with_scripts(world, retry_count=1, retry_wait_minutes=1)
    world.simulator.config(fail=[policy.targets.get().resource_id])
    world.backup(policy)
    world.simulator.config(fail=[])
    world.pass_time(timedelta(minutes=2))
    again = ["before_nightly", "after_nightly 1", "complete_nightly 1"]
    assert scripts.told() == ["before_nightly", "after_nightly 1", "complete_nightly 0", *again]


def test_a_script_that_hangs_is_ended_with_all_that_it_has_started(
    world: World, scripts: Scripts
) -> None:
    scripts.write("before_nightly", f"sleep 300 & echo $! >{scripts.diary}.child\nsleep 300")
    scripts.write("after_nightly")
    backup = world.backup(policy_with_scripts(world, agent_script_timeout_seconds=1))
    assert backup.outcome == PARTIAL
    assert failures(backup) == {"before": "it was ended after 1 seconds"}
    assert scripts.told() == ["before_nightly", "after_nightly 0"]
    assert is_gone(int(Path(f"{scripts.diary}.child").read_text()))


def test_what_a_script_leaves_behind_ends_with_it(world: World, scripts: Scripts) -> None:
    scripts.write("before_nightly", f"sleep 300 & echo $! >{scripts.diary}.child")
    assert world.backup(policy_with_scripts(world)).outcome == SUCCEEDED
    assert is_gone(int(Path(f"{scripts.diary}.child").read_text()))


def test_the_end_of_the_output_is_in_the_log_where_it_is_collected(
    world: World, scripts: Scripts
) -> None:
    scripts.write("before_nightly", "echo out; echo err >&2")
    scripts.write("after_nightly", "yes | head -c 300000; printf 'a\\0b\\377'")
    backup = world.backup(policy_with_scripts(world, collect_script_output=True))
    first, second = Event.objects.filter(backup=backup, code="script_output").order_by("pk")
    assert (first.values["hook"], first.values["output"]) == ("before", "out\nerr\n")
    assert second.values["output"].startswith("[...]\n")
    assert second.values["output"].endswith(
        "y\na\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
    )
    assert len(second.values["output"]) == 64 * 1024


def test_output_that_nobody_collects_is_nowhere(world: World, scripts: Scripts) -> None:
    scripts.write("before_nightly", "echo secret")
    backup = world.backup(policy_with_scripts(world))
    assert not any("secret" in str(event.values) for event in Event.objects.filter(backup=backup))


def test_a_script_learns_what_it_is_for_and_none_of_the_servers_secrets(
    world: World, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CPM_SECRET_KEY", "the key of the tests")
    scripts.write("before_nightly", f"env >{scripts.diary}.env; pwd >>{scripts.diary}.env; cat")
    backup = world.backup(policy_with_scripts(world))
    told = Path(f"{scripts.diary}.env").read_text()
    assert f"CPM_USER={world.user.username}\n" in told
    assert "CPM_POLICY=nightly\n" in told
    assert f"CPM_BACKUP_ID={backup.pk}\n" in told
    assert told.endswith(f"{scripts.folder}\n")
    assert "the key" not in told


@pytest.mark.parametrize("trouble", ["symlink", "folder", "mode", "linked home", "dots"])
def test_what_is_no_script_of_the_user_is_not_run(
    world: World, scripts: Scripts, trouble: str
) -> None:
    path = scripts.write("before_nightly")
    if trouble == "symlink":
        path.rename(scripts.folder.parent.parent / "elsewhere")
        path.symlink_to(scripts.folder.parent.parent / "elsewhere")
    elif trouble == "folder":
        path.unlink()
        path.mkdir()
    elif trouble == "mode":
        path.chmod(stat.S_IRUSR)
    elif trouble == "linked home":
        scripts.folder.rename(scripts.folder.parent.parent / "home")
        scripts.folder.symlink_to(scripts.folder.parent.parent / "home")
    else:
        path.rename(scripts.folder.parent / "before_nightly")
        world.user.username = "."
        world.user.save()
    backup = world.backup(policy_with_scripts(world))
    assert backup.outcome == PARTIAL
    assert scripts.told() == []
    assert str(scripts.folder.parent) in failures(backup)["before"]


def test_a_script_found_running_was_interrupted_and_what_it_halted_goes_on(
    world: World, scripts: Scripts
) -> None:
    scripts.write_all("nightly")
    backup = tick.run_now(policy_with_scripts(world))
    while not ScriptRun.objects.exists():
        assert queue.run_next()
    now = clock.now()
    ScriptRun.objects.update(phase="running", started_at=now, due_at=now)
    world.drain()
    backup.refresh_from_db()
    assert backup.outcome == PARTIAL
    assert failures(backup) == {"before": "it was interrupted: its worker died"}
    assert scripts.told() == ["after_nightly 0", "complete_nightly 1"]


def test_a_script_whose_job_was_lost_runs_all_the_same(world: World, scripts: Scripts) -> None:
    scripts.write_all("nightly")
    backup = tick.run_now(policy_with_scripts(world))
    while not ScriptRun.objects.exists():
        assert queue.run_next()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")
    world.drain()
    backup.refresh_from_db()
    assert backup.outcome == SUCCEEDED
    assert len(scripts.told()) == 3


def test_what_a_before_script_halted_goes_on_though_a_region_stays_away(
    world: World, scripts: Scripts
) -> None:
    scripts.write_all("nightly")
    policy = policy_with_scripts(world)
    there = volume_target(world.volume(OTHER_REGION), OTHER_REGION)
    there.policy = policy
    there.save()
    world.simulator.faults([{"op": "ec2:DescribeVolumes", "kind": "503", "region": OTHER_REGION}])
    began = clock.now()
    tick.run_now(policy)
    while len(scripts.told()) < 2:
        world.work()
        assert world.next_look()
    assert scripts.told() == ["before_nightly", "after_nightly 0"]
    assert timedelta(minutes=30) <= clock.now() - began < timedelta(minutes=40)


def test_a_backup_that_is_given_up_lets_go_on_what_was_halted(
    world: World, scripts: Scripts
) -> None:
    scripts.write_all("nightly")
    backup = tick.run_now(policy_with_scripts(world))
    while scripts.told() != ["before_nightly"]:
        assert queue.run_next()
    backups.give_up(backup.pk)
    world.drain()
    assert scripts.told() == ["before_nightly", "after_nightly 0"]


def test_scripts_that_hang_hold_up_nothing_else(
    world: World, scripts: Scripts, database_url: str
) -> None:
    scripts.write("before_nightly", "sleep 300")
    tick.run_now(policy_with_scripts(world, agent_script_timeout_seconds=300))
    quick = world.policy(volume_target(world.volume()))
    folder = str(scripts.folder.parent)
    with worker_process(world.simulator, database_url, CPM_SCRIPTS=folder):
        assert clock.wait_until(lambda: bool(scripts.told()), timeout_seconds=60)
        tick.run_now(quick)
        closed = Backup.objects.filter(policy=quick, outcome=SUCCEEDED)
        assert clock.wait_until(closed.exists, timeout_seconds=60)
    assert ScriptRun.objects.get().phase == ScriptPhase.RUNNING


def is_gone(pid: int) -> bool:
    """Whether the process is over, or will be in a moment."""

    def is_over() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()

    return clock.wait_until(is_over, timeout_seconds=10)
