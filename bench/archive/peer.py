"""Other programs that back up the same blocks as files, from memory into a repository in memory."""

import os
import resource
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.archive.processes import Bench, Run
from cpm.kernel import clock


@dataclass(frozen=True)
class Peer:
    """A program, and how it is told to do what is compared; `backup` is completed by a directory.

    Each encrypts, deduplicates and compresses, as the mover does.
    """

    program: str
    make: tuple[str, ...]
    open: tuple[str, ...]
    backup: tuple[str, ...]
    environment: Mapping[str, str]
    repository: str

    @property
    def row(self) -> str:
        """What its row is called."""
        return f"{self.program} {self.backup[0]}"


RESTIC = Peer(
    program="restic",
    make=("init", "--quiet"),
    open=("cat", "config"),
    backup=("backup", "--quiet", "--no-cache"),
    environment={"RESTIC_PASSWORD": "x"},
    repository="RESTIC_REPOSITORY",
)
BORG = Peer(
    program="borg",
    make=("init", "--encryption", "repokey-blake2"),
    open=("info",),
    backup=("create", "--compression", "zstd,2", "::all"),
    environment={"BORG_PASSPHRASE": "x"},
    repository="BORG_REPO",
)
PEERS = (RESTIC, BORG)


def backup(peer: Peer, bench: Bench, kind: str, out: Console) -> Run | None:
    """What it takes, without the time that opening a repository takes; None where it is not."""
    program = shutil.which(peer.program)
    if program is None:
        out.print(f"{peer.program} is not on this machine: not compared.")
        return None
    home = bench.scratch / f"{peer.program}-{kind}"
    home.mkdir()
    running = _Running(program, peer, home)
    running.took(*peer.make)
    opening = running.took(*peer.open)
    whole = running.took(*peer.backup, str(bench.stand_in.directory / kind))
    shutil.rmtree(home)
    return Run(bench.mib, whole[0] - opening[0], whole[1] - opening[1])


class _Running:
    def __init__(self, program: str, peer: Peer, home: Path) -> None:
        self._program = program
        # What a program keeps beside its repository goes with it.
        own = {"HOME": str(home), peer.repository: str(home / "repository")}
        self._environment = {**os.environ, **peer.environment, **own}

    def took(self, *arguments: str) -> tuple[float, float]:
        """Seconds, and seconds of CPU."""
        began, used = clock.monotonic(), _children_cpu()
        ended = subprocess.run(
            [self._program, *arguments],
            env=self._environment,
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if ended.returncode:
            raise RuntimeError(ended.stderr)
        return clock.monotonic() - began, _children_cpu() - used


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
