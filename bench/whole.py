"""One whole list in a process of its own, which tells what it took: `python -m bench.whole api`.

The parent's memory says nothing of one list, so each is measured in a fresh process.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.contenders import MAKERS
from bench.cost import Cost, Meter

_MIB_PER_KIB = 1 / 1024


@dataclass(frozen=True)
class Whole:
    """What it took to read a list to its end."""

    cost: Cost
    first_byte_ms: float
    grown_mib: float
    body_mib: float


def read(contender_name: str, token: str) -> Whole:
    """Read the whole list once; the process has answered something small before."""
    contender = MAKERS[contender_name](token)
    contender.page(1)
    _forget_peak()
    before_mib = _memory_mib("VmRSS")
    meter = Meter(contender.postgres_pid())
    parts = contender.every()
    body_bytes = len(next(iter(parts)))
    first_byte_ms = meter.taken().wall_ms
    body_bytes += sum(map(len, parts))
    return Whole(
        cost=meter.taken(),
        first_byte_ms=first_byte_ms,
        grown_mib=_memory_mib("VmHWM") - before_mib,
        body_mib=body_bytes / 1024 / 1024,
    )


def _forget_peak() -> None:
    """Let the kernel count this process's peak of memory from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def _memory_mib(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * _MIB_PER_KIB


if __name__ == "__main__":
    _, name, token = sys.argv
    print(msgspec.json.encode(read(name, token)).decode())
