"""Servers die while their scripts run: none runs twice, and what was halted goes on."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpm.aws import tags
from cpm.kernel import clock
from cpm.models.backups import BackupOutcome
from cpm.models.scripts import ScriptOutcome, ScriptRun
from tests.crash.death import Fate
from tests.crash.processes import LATE, a_fleet, die_at, kill
from tests.crash.stories import BackupStory, Story, check_quiet, is_over
from tests.crash.telling import crash_at_every_point, tell
from tests.crash.time import TimedWorld
from tests.engine.server_scripts import Scripts
from tests.engine.world import instance_target, refs_of, volume_target


class ScriptsStory(BackupStory):
    """A backup with a script before it, one when its snapshot is started, and one at its end."""

    def __init__(self, world: TimedWorld, scripts: Scripts) -> None:
        Story.__init__(self, world)
        volume_id = world.volume()
        self.volumes = {volume_id}
        self.policy = world.policy(
            volume_target(volume_id), enable_agent_scripts=True, agent_script_timeout_seconds=60
        )
        self.scripts = scripts
        self.scripts.write_all(self.policy.name)

    def check(self) -> None:
        """Each script ran once, in its turn; what was interrupted may have done its work before."""
        backup = self.policy.backups.get()
        self.check_snapshots(backup)
        runs = list(backup.scripts.order_by("pk"))
        assert [run.hook for run in runs] == ["before", "after", "complete"]
        done = [run for run in runs if run.outcome == ScriptOutcome.SUCCEEDED]
        assert all("interrupted" in run.error for run in runs if run not in done)
        told = [line for line in self.scripts.told() if self.policy.name in line.split()[0]]
        wanted = [self.call(run) for run in runs]
        assert [line for line in wanted if line in told] == told
        assert set(told) >= {self.call(run) for run in done}
        assert runs[1].argument == str(int(runs[0] in done))
        whole = done == runs
        assert backup.outcome == (BackupOutcome.SUCCEEDED if whole else BackupOutcome.PARTIAL)

    def call(self, run: ScriptRun) -> str:
        """How the script was called, as it says itself."""
        return f"{run.hook}_{self.policy.name} {run.argument}".strip()


class AgentStory(BackupStory):
    """A Windows instance with scripts of its own, and snapshots by VSS."""

    def __init__(self, world: TimedWorld) -> None:
        Story.__init__(self, world)
        estate = world.seed(instances=1, volumes_per=2, platform="windows")
        (instance_id,) = estate["instances"]
        self.volumes = set(estate["volumes"][instance_id])
        world.simulator.agents(world.credentials.account)
        target = instance_target(
            instance_id, agent_enabled=True, scripts_enabled=True, vss_enabled=True
        )
        self.policy = world.policy(target)

    def check(self) -> None:
        """One snapshot of each volume, made by VSS; each command was sent once."""
        backup = self.policy.backups.get()
        made = self.world.snapshots_in_aws(cpm_backup_id=str(backup.pk))
        assert Counter(each["VolumeId"] for each in made) == dict.fromkeys(self.volumes, 1)
        assert {each["SnapshotId"] for each in made} == refs_of(backup)
        (token,) = {tags.from_aws(each["Tags"])[tags.TOKEN] for each in made}
        assert token == str(backup.operations.get(step="vss").token)
        assert backup.outcome == BackupOutcome.SUCCEEDED
        comments = Counter(command["Comment"] for command in self.commands())
        sent = backup.operations.filter(watch="ssm_command").values_list("token", flat=True)
        assert len(sent) == 4
        assert [comments[f"cpm_token={token}"] for token in sent] == [1, 1, 1, 1]

    def commands(self) -> list[dict[str, Any]]:
        """Every command that was ever sent in the account."""
        pages = self.world.client("ssm").get_paginator("list_commands").paginate()
        return [command for page in pages for command in page["Commands"]]


@pytest.fixture
def scripts(world: TimedWorld, settings: Any, tmp_path: Path) -> Scripts:
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, scripts=tmp_path / "scripts")
    return Scripts.of(world.user, tmp_path)


def test_scripts_run_once_at_most_wherever_their_server_dies(
    world: TimedWorld, scripts: Scripts
) -> None:
    crash_at_every_point(world, lambda: ScriptsStory(world, scripts))


@pytest.mark.parametrize("seed", range(3))
def test_commands_are_sent_once_though_the_server_dies_again_and_again(
    world: TimedWorld, seed: int
) -> None:
    chance = random.Random(seed)
    assert tell(world, lambda: AgentStory(world), Fate(lambda _: chance.random() < 0.2)) > 1


@pytest.mark.parametrize("operation", ["SendCommand", "ListCommandInvocations"])
def test_a_command_is_sent_once_though_its_worker_is_killed(
    world: TimedWorld, database_url: str, tmp_path: Path, operation: str
) -> None:
    story = AgentStory(world)
    with a_fleet(world, tmp_path, database_url) as fleet:
        story.ask()
        die_at(fleet, f"ssm:{operation}", LATE)
        again = fleet.worker()
        fleet.wait_for(is_over)
        kill(again)
    check_quiet()
    story.check()


def test_an_agent_that_does_not_answer_is_told_of(world: TimedWorld) -> None:
    (instance_id,) = world.seed(instances=1)["instances"]
    world.simulator.agents(
        world.credentials.account, [{"instance_id": instance_id, "online": False}]
    )
    target = instance_target(instance_id, agent_enabled=True, scripts_enabled=True)
    backup = world.backup(world.policy(target))
    assert backup.outcome == BackupOutcome.PARTIAL
    assert backup.snapshots.count() == 1
    error = backup.operations.get(step="before").error
    assert error.endswith(f"{instance_id}: the agent does not answer (DeliveryTimedOut)")


def test_a_script_dies_with_its_worker_and_its_backup_goes_on(
    world: TimedWorld, scripts: Scripts, database_url: str, tmp_path: Path
) -> None:
    story = ScriptsStory(world, scripts)
    pid = tmp_path / "pid"
    scripts.write(
        f"before_{story.policy.name}", f"sleep 60 & echo $! >{pid}.new; mv {pid}.new {pid}; wait"
    )
    folder = str(tmp_path / "scripts")
    with a_fleet(world, tmp_path, database_url, CPM_SCRIPTS=folder) as fleet:
        story.ask()
        worker = fleet.worker()
        fleet.wait_for(pid.exists, time_passes=False)
        worker.kill()
        worker.wait()
        sleeper = Path(f"/proc/{int(pid.read_text())}/status")
        assert clock.wait_until(lambda: not sleeper.exists(), timeout_seconds=30)
        again = fleet.worker()
        fleet.wait_for(is_over)
        kill(again)
    check_quiet()
    story.check()
    (before, *_) = story.policy.backups.get().scripts.order_by("pk")
    assert before.outcome == ScriptOutcome.FAILED
