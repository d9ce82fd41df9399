"""Servers die while their scripts run: none runs twice, and what was halted goes on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpm.kernel import clock
from cpm.models.backups import BackupOutcome
from cpm.models.scripts import ScriptOutcome, ScriptRun
from tests.crash.processes import a_fleet, kill
from tests.crash.stories import BackupStory, Story, check_quiet, is_over
from tests.crash.test_every_point import crash_at_every_point
from tests.crash.time import TimedWorld
from tests.engine.server_scripts import Scripts
from tests.engine.world import volume_target


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


@pytest.fixture
def scripts(world: TimedWorld, settings: Any, tmp_path: Path) -> Scripts:
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, scripts=tmp_path / "scripts")
    return Scripts.of(world.user, tmp_path)


def test_scripts_run_once_at_most_wherever_their_server_dies(
    world: TimedWorld, scripts: Scripts
) -> None:
    crash_at_every_point(world, lambda: ScriptsStory(world, scripts))


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
