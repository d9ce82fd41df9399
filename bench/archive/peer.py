"""`restic backup` of the same blocks as files, from memory into a repository in memory."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

from rich.console import Console

from bench.archive.processes import Bench, Run
from cpm.kernel import clock


def backup(bench: Bench, kind: str, out: Console) -> Run | None:
    """What it takes, without the time that opening a repository takes; None where it is not."""
    program = shutil.which("restic")
    if program is None:
        out.print("restic is not on this machine (apt install restic): not compared.")
        return None
    home = bench.scratch / f"restic-{kind}"
    restic = _Restic(program, home)
    restic.took("init")
    opening = restic.took("cat", "config")
    whole = restic.took("backup", "--no-cache", str(bench.stand_in.directory / kind))
    shutil.rmtree(home)
    return Run(bench.mib, whole[0] - opening[0], whole[1] - opening[1])


class _Restic:
    def __init__(self, program: str, home: Path) -> None:
        self._program = program
        self._environment = {**os.environ, "RESTIC_REPOSITORY": str(home), "RESTIC_PASSWORD": "x"}

    def took(self, *arguments: str) -> tuple[float, float]:
        """Seconds, and seconds of CPU."""
        began, used = clock.monotonic(), _children_cpu()
        subprocess.run(
            [self._program, "--quiet", *arguments],
            env=self._environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return clock.monotonic() - began, _children_cpu() - used


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
