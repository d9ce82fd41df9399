"""Runs of the work, each in processes of its own, and what they took."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.archive.standin import BLOCK_BYTES, StandIn


@dataclass(frozen=True)
class Run:
    """What a run took; of several processes the sum, and the time of the longest."""

    mib: float
    wall_seconds: float
    cpu_seconds: float
    peak_mib: float = 0.0
    requests: int = 0


class Bench:
    """The work on a stand-in."""

    def __init__(self, stand_in: StandIn, scratch: Path) -> None:
        self.stand_in = stand_in
        self.scratch = scratch

    @property
    def mib(self) -> float:
        """How much there is of each kind of data."""
        return self.stand_in.blocks * BLOCK_BYTES / 2**20

    def run(self, does: str, kind: str, *, tls: bool = False, **more: object) -> Run:
        """One process, over http or https."""
        endpoint = self.stand_in.endpoint(tls=tls)
        return self._ended([self._begin(does, kind, "", endpoint=endpoint, **more)])

    def both(self, does: str, kind: str) -> Run:
        """Two processes at the same time, each with all of the data."""
        run = self._ended([self._begin(does, kind, number) for number in ("-1", "-2")])
        for number in ("-1", "-2"):
            self.stand_in.empty(f"{does}-{kind}{number}")
        return run

    def _begin(self, does: str, kind: str, number: str, **more: object) -> subprocess.Popen[str]:
        place = "copy" if does in ("increment", "image", "back") else does
        image = self.scratch / "disk.img"
        image.unlink(missing_ok=True)
        if does in ("copy", "bare"):
            self.stand_in.empty(f"{place}-{kind}{number}")
        task = {
            "does": does,
            "port": self.stand_in.port,
            "endpoint": self.stand_in.endpoint(tls=False),
            "kind": kind,
            "bucket": f"{place}-{kind}{number}",
            "blocks": self.stand_in.blocks,
            "volume_blocks": self.stand_in.blocks,
            "note": str(self.scratch / f"{place}-{kind}{number}"),
            "to": str(image),
            **more,
        }
        command = [sys.executable, "-m", "bench.archive.work", json.dumps(task)]
        environment = {**os.environ, "AWS_CA_BUNDLE": str(self.stand_in.certificate)}
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def _ended(self, processes: list[subprocess.Popen[str]]) -> Run:
        told = [process.communicate()[0] for process in processes]
        if any(process.returncode for process in processes):
            raise RuntimeError("the work has failed, and has said why above")
        costs = [json.loads(each) for each in told]
        return Run(
            mib=self.mib * len(costs),
            wall_seconds=max(each["wall_seconds"] for each in costs),
            cpu_seconds=sum(each["cpu_seconds"] for each in costs),
            peak_mib=max(each["peak_mib"] for each in costs),
            requests=costs[0]["requests"],
        )
