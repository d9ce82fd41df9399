"""The archive's mover beside the bare work, and beside its peers, on the same data in one run.

    python -m bench.archive [--blocks N] [--quick]

nginx stands in for EBS direct and S3. It ends with 1 when a promise was not kept; what is measured
and how is in `bench/archive/README.md`.
"""

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from bench.archive import peer, standin
from bench.archive.processes import Bench, Run
from bench.archive.standin import KINDS, StandIn
from bench.verdicts import Target, console, show_targets, table

_BLOCKS, _QUICK_BLOCKS = 1_536, 256
_ROUNDS = 3
_TIB_BLOCKS = 2**21
# As large as a volume may be.
_MOST_TIB, _MOST_MIB = 64, 1024
_MIB_PER_BLOCK = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print what came of it; 1 when a promise was not kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.archive", description=__doc__)
    parser.add_argument("--blocks", type=int, help=f"blocks of each kind (default {_BLOCKS:,})")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK_BLOCKS:,} blocks")
    wanted = parser.parse_args(arguments)
    blocks = wanted.blocks or (_QUICK_BLOCKS if wanted.quick else _BLOCKS)
    out = console()
    out.print(f"Planting {blocks * _MIB_PER_BLOCK:,.0f} MiB of text and as much noise ...")
    try:
        with standin.running(blocks, _MOST_TIB * _TIB_BLOCKS) as stand_in:
            targets = _run(out, stand_in)
    except standin.Missing as missing:
        out.print(f"[red]{missing}[/]")
        return 2
    return 0 if show_targets(out, targets) else 1


def _run(out: Console, stand_in: StandIn) -> list[Target]:
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(dir=stand_in.directory) as scratch:
        bench = Bench(stand_in, Path(scratch))
        for kind in KINDS:
            targets += _kind(out, bench, kind)
        targets += _memory(out, bench)
    return targets


def _kind(out: Console, bench: Bench, kind: str) -> list[Target]:
    """All that is measured of one kind of data."""
    rows: dict[str, list[Run]] = {}

    def take(name: str, run: Callable[[], Run | None]) -> None:
        found = run()
        if found is not None:
            rows.setdefault(name, []).append(found)

    for number in range(_ROUNDS):
        take("bare, 1 process", lambda: bench.run("bare", kind))
        take("mover, 1 process", lambda: bench.run("copy", kind))
        take("mover over https, 1 process", lambda: bench.run("copy", kind, tls=True))
        take("bare, 2 processes", lambda: bench.both("bare", kind))
        take("mover, 2 processes", lambda: bench.both("copy", kind))
        take("incremental, 1 % changed", lambda: bench.run("increment", kind))
        take("restore to an image", lambda: bench.run("image", kind))
        take("restore to EBS", lambda: bench.run("back", kind))
        for each in peer.PEERS if number == 0 else ():
            take(each.row, partial(peer.backup, each, bench, kind, out))
    _show(out, bench, kind, rows)
    return _targets(bench, kind, rows)


def _show(out: Console, bench: Bench, kind: str, rows: dict[str, list[Run]]) -> None:
    shown = table(
        f"{kind.capitalize()}: {bench.mib:,.0f} MiB, encrypted, medians",
        "",
        "MiB/s",
        "MiB per CPU second",
        "peak MiB",
        "S3 requests",
    )
    for name, runs in rows.items():
        shown.add_row(
            name,
            f"{statistics.median(each.mib / each.wall_seconds for each in runs):,.0f}",
            f"{_per_core(runs):,.0f}",
            f"{max(each.peak_mib for each in runs):,.0f}" if runs[0].peak_mib else "",
            f"{runs[0].requests}" if runs[0].requests else "",
        )
    out.print(shown)
    share = bench.stand_in.stored_bytes(f"copy-{kind}") / (bench.mib * 2**20)
    out.print(f"Stored: {share:.0%} of what was read.\n")


def _per_core(runs: list[Run]) -> float:
    return statistics.median(each.mib / each.cpu_seconds for each in runs)


def _paired(ones: list[Run], others: list[Run]) -> float:
    """How much less CPU the first take than the second, each beside its neighbour in time."""
    pairs = zip(ones, others, strict=True)
    return statistics.median(other.cpu_seconds / one.cpu_seconds for one, other in pairs)


def _time(runs: list[Run]) -> float:
    return statistics.median(each.wall_seconds for each in runs)


def _targets(bench: Bench, kind: str, rows: dict[str, list[Run]]) -> list[Target]:
    one, two = rows["mover, 1 process"], rows["mover, 2 processes"]
    some = rows["incremental, 1 % changed"]
    stored_gib = bench.stand_in.stored_bytes(f"copy-{kind}") / 2**30
    least = {"text": 130.0, "noise": 300.0}[kind]
    targets = [
        Target(
            f"{kind}: of the bare work's rate",
            _paired(one, rows["bare, 1 process"]),
            0.75,
            "",
            True,
        ),
        Target(
            f"{kind}: the same of two processes",
            _paired(two, rows["bare, 2 processes"]),
            0.75,
            "",
            True,
        ),
        Target(f"{kind}: per core", _per_core(one), least, " MiB/s", True),
        Target(f"{kind}: 1 % incremental of a full copy's CPU", 1 / _paired(some, one), 0.03),
        Target(f"{kind}: 1 % incremental of a full copy's time", _time(some) / _time(one), 0.03),
        Target(f"{kind}: S3 requests per GiB stored", math.ceil(one[0].requests / stored_gib), 60),
    ]
    if peer.RESTIC.row in rows:
        times = _per_core(one) / _per_core(rows[peer.RESTIC.row])
        targets.append(Target(f"{kind}: times restic's rate per core", times, 2, "", True))
    return targets


def _memory(out: Console, bench: Bench) -> list[Target]:
    """Sparse volumes that have something in each of their pages beside one of 1 GiB."""
    small = bench.run("copy", KINDS[0], is_encrypted=False)
    large, largest = (
        bench.run("copy", "sparse", volume_blocks=tib * _TIB_BLOCKS, is_encrypted=False)
        for tib in (1, _MOST_TIB)
    )
    out.print(
        f"Peak memory: {small.peak_mib:.0f} MiB for {bench.mib:,.0f} MiB, "
        f"{large.peak_mib:.0f} MiB for a sparse volume of 1 TiB, "
        f"{largest.peak_mib:.0f} MiB for one of {_MOST_TIB} TiB.\n"
    )
    return [
        Target("memory: 1 TiB beside 1 GiB", large.peak_mib / small.peak_mib, 1.1),
        Target(f"memory: {_MOST_TIB} TiB", largest.peak_mib, _MOST_MIB, " MiB"),
    ]


if __name__ == "__main__":
    sys.exit(main())
