"""The server's own scripts: before a backup, when its snapshots are started, and at its end.

`<folder>/<user>/before_<policy>`, `after_<policy>` and `complete_<policy>`. A run is a row before
it begins, and begins once: whoever finds it running has taken it over from a worker that died.
"""

import os
import signal
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction

from cpm.engine import events, jobs, programs, progress, transitions
from cpm.kernel import clock
from cpm.models.backups import Backup
from cpm.models.scripts import Hook, ScriptOutcome, ScriptPhase, ScriptRun

# What a before-script has brought to a halt goes on after so long, whatever AWS has done by then.
LONGEST_HALT = timedelta(minutes=30)
_WELL, _NOT_WELL = "1", "0"
# Where there is no policy any longer that says another.
_TIMEOUT_SECONDS = 30
# How long after its time a run is looked for whose job was lost.
_FORGOTTEN = timedelta(minutes=1)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Of the output of a script that failed, so much goes into the log in any case.
_LONGEST_LAST_WORDS = 500


class Refused(Exception):
    """A script that is not run; the text says why."""


def is_over(backup: Backup, hook: Hook) -> bool:
    """Whether the backup may go on beyond its script, which is ordered the first time."""
    if not backup.runs_scripts:
        return True
    run = backup.scripts.filter(hook=hook).first()
    if run is None:
        _order(backup, hook, _argument(backup, hook))
        return False
    return run.phase == ScriptPhase.CLOSED


def may_go_on(backup: Backup) -> bool:
    """Whether what the before-script has brought to a halt may go on, or can wait no longer."""
    if not backup.runs_scripts:
        return False
    if progress.is_asked_for(backup):
        return True
    for_long = backup.scripts.filter(hook=Hook.BEFORE, finished_at__lte=clock.now() - LONGEST_HALT)
    return for_long.exclude(outcome=ScriptOutcome.ABSENT).exists()


def let_go_on(backup: Backup) -> None:
    """Run the after-script of a backup that ends before its time."""
    ran = set(backup.scripts.values_list("hook", flat=True)) if backup.runs_scripts else set()
    if Hook.BEFORE in ran and Hook.AFTER not in ran:
        _order(backup, Hook.AFTER, _NOT_WELL)


@jobs.RUN_SCRIPT.runs
def run(script_id: int) -> None:
    """Run a script that was ordered; one that is found running was interrupted."""
    script = _open(script_id)
    if script is None:
        return
    if script.phase == ScriptPhase.RUNNING:
        _close(script, ScriptOutcome.FAILED, "it was interrupted: its worker died")
        return
    try:
        _carry_out(script, _path(script))
    except (Refused, OSError) as reason:
        _close(script, ScriptOutcome.FAILED, str(reason))


@jobs.RUN_SCRIPT.gives_up
def give_up(script_id: int) -> None:
    """Close a run at which our own code fails again and again."""
    script = _open(script_id)
    if script is not None:
        _close(script, ScriptOutcome.FAILED, "an error of the server, which its log describes")


def _open(script_id: int) -> ScriptRun | None:
    rows = ScriptRun.objects.exclude(phase=ScriptPhase.CLOSED).filter(pk=script_id)
    return rows.select_related("backup__user", "backup__policy").first()


def _argument(backup: Backup, hook: Hook) -> str:
    """What a script is told of how it went so far."""
    if hook == Hook.BEFORE:
        return ""
    all_well = not progress.unprotected(backup).exists()
    if hook == Hook.AFTER:
        before = backup.scripts.filter(hook=Hook.BEFORE, outcome=ScriptOutcome.FAILED)
        all_well = all_well and progress.is_asked_for(backup) and not before.exists()
    return _WELL if all_well else _NOT_WELL


@transaction.atomic
def _order(backup: Backup, hook: Hook, argument: str) -> None:
    policy = backup.policy
    script, is_new = ScriptRun.objects.get_or_create(
        backup=backup,
        hook=hook,
        defaults={
            "argument": argument,
            "timeout_seconds": policy.agent_script_timeout_seconds if policy else _TIMEOUT_SECONDS,
            "due_at": clock.now(),
        },
    )
    if is_new:
        jobs.defer_scripts([script.pk])


def _path(script: ScriptRun) -> Path:
    """Where the script is, or would be. Raises Refused for what is no script of the user's."""
    folder = settings.ENVIRONMENT.scripts_folder.resolve()
    username = script.backup.user.username
    path = folder / username / f"{script.hook}_{script.backup.policy_name}"
    home = path.resolve().parent
    # A link may lead elsewhere, and so may a name that is a dot or two.
    if os.path.lexists(path) and (home.parent, home.name) != (folder, username):
        raise Refused(f"{path} leads out of the user's folder")
    return path


def _carry_out(script: ScriptRun, path: Path) -> None:
    """Commit that the script runs, run it, and write what came of it. Raises Refused, OSError."""
    if not path.exists():
        _close(script, ScriptOutcome.ABSENT, str(path))
        return
    if not path.is_file() or not os.access(path, os.X_OK):
        raise Refused(f"{path} is no file that the server can execute")
    now = clock.now()
    deadline = now + timedelta(seconds=script.timeout_seconds)
    transitions.move(script, ScriptPhase.RUNNING, started_at=now, due_at=deadline + _FORGOTTEN)
    ended = programs.run(
        [str(path), *([script.argument] if script.argument else [])],
        timeout_seconds=script.timeout_seconds,
        environment=_environment(script.backup),
        directory=path.parent,
    )
    error = _error(script, ended)
    outcome = ScriptOutcome.FAILED if error else ScriptOutcome.SUCCEEDED
    _close(script, outcome, error, output=ended.output)


def _environment(backup: Backup) -> dict[str, str]:
    """What a script is told; the server's own environment has secrets in it."""
    return {
        "PATH": _PATH,
        "LANG": "C.UTF-8",
        "HOME": os.path.expanduser("~"),  # noqa: PTH111 - Path.home() raises where there is none
        "CPM_USER": backup.user.username,
        "CPM_POLICY": backup.policy_name,
        "CPM_BACKUP_ID": str(backup.pk),
    }


def _error(script: ScriptRun, ended: programs.Ended) -> str:
    """Why the script has failed; empty when it has not."""
    if ended.is_timed_out:
        return f"it was ended after {script.timeout_seconds} seconds"
    if ended.exit_code == 0:
        return ""
    if ended.exit_code < 0:
        return f"it was killed by {signal.Signals(-ended.exit_code).name}"
    last_words = ended.output.strip()[-_LONGEST_LAST_WORDS:]
    return f"exit status {ended.exit_code}" + (f": {last_words}" if last_words else "")


@transaction.atomic
def _close(script: ScriptRun, outcome: ScriptOutcome, error: str, *, output: str = "") -> None:
    backup = script.backup
    now = clock.now()
    transitions.move(
        script, ScriptPhase.CLOSED, outcome=outcome, error=error, finished_at=now, due_at=None
    )
    if output and backup.policy is not None and backup.policy.collect_script_output:
        events.log("script_output", backup=backup, hook=script.hook, output=output)
    seconds = round((now - (script.started_at or now)).total_seconds())
    events.log(_CODES[outcome], backup=backup, hook=script.hook, seconds=seconds, error=error)
    jobs.wake_backups([backup.pk])


_CODES = {
    ScriptOutcome.SUCCEEDED: "script_done",
    ScriptOutcome.FAILED: "script_failed",
    ScriptOutcome.ABSENT: "script_absent",
}
