"""Many clients at once: none is refused, and none has to wait much longer than the others.

    python -m bench.clients [--rows N] [--seconds S] [--quick]

Sixteen clients, a process each, read and write over TLS what the web server has in a database that
keeps its promises (it writes through to the disk). How fast that is depends on the machine and on
what else it does; how much slower the slowest answers are than the others does not. It ends with 1
when a promise was not kept.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import median, quantiles

from rich.console import Console

from bench import records
from bench.database import empty_database
from bench.server import running_server
from bench.verdicts import Target, console, show_targets, table
from bench.visitor import Seen, Visit, visit

_CLIENTS = 16
_ROWS, _SECONDS = 200_000, 120.0
_QUICK_ROWS, _QUICK_SECONDS = 20_000, 15.0
_WARM_UP_SECONDS = 3.0
_ERRORS_SHOWN = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print what came of it; 1 when a promise was not kept."""
    wanted = _parser().parse_args(arguments)
    rows = wanted.rows or (_QUICK_ROWS if wanted.quick else _ROWS)
    seconds = wanted.seconds or (_QUICK_SECONDS if wanted.quick else _SECONDS)
    out = console()
    with empty_database(durable=True):
        out.print(f"Planting {rows:,} backup records ...")
        estate = records.plant(rows)
        records.tidy()
        with running_server() as address:
            visits = [Visit(n, address, estate, _WARM_UP_SECONDS) for n in range(_CLIENTS)]
            _all_at_once(visits)
            out.print(f"{_CLIENTS} clients ask for {seconds:g} seconds ...")
            visits = [Visit(n, address, estate, seconds) for n in range(_CLIENTS)]
            seen = _together(_all_at_once(visits))
    _show(out, seen, seconds)
    return 0 if show_targets(out, _targets(seen)) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.clients", description=__doc__)
    parser.add_argument("--rows", type=int, help=f"backup records (default {_ROWS:,})")
    parser.add_argument("--seconds", type=float, help=f"how long (default {_SECONDS:g})")
    parser.add_argument(
        "--quick", action="store_true", help=f"{_QUICK_ROWS:,} records, {_QUICK_SECONDS:g} seconds"
    )
    return parser


def _all_at_once(visits: Sequence[Visit]) -> list[Seen]:
    """Clients have processes of their own: threads of one would wait for each other."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(len(visits), mp_context=context) as pool:
        return list(pool.map(visit, visits))


def _together(seen: Sequence[Seen]) -> Seen:
    whole = Seen()
    for one in seen:
        whole.errors += one.errors
        for what, taken in one.seconds.items():
            whole.seconds.setdefault(what, []).extend(taken)
    return whole


def _show(out: Console, seen: Seen, seconds: float) -> None:
    columns = ["requests", "per second", "median ms", "p99 ms", "slowest ms", "p99 / median"]
    shown = table("Requests", "", *columns)
    for what, taken in [*sorted(seen.seconds.items()), ("all", _all(seen))]:
        middle, late = median(taken), _p99(taken)
        shown.add_row(
            what,
            *(f"{len(taken):,}", f"{len(taken) / seconds:.1f}"),
            *(f"{each * 1000:.1f}" for each in (middle, late, max(taken))),
            f"{late / middle:.1f}",
        )
    out.print(shown)
    for error in seen.errors[:_ERRORS_SHOWN]:
        out.print(error)


def _targets(seen: Seen) -> list[Target]:
    taken = _all(seen)
    return [
        Target("errors", len(seen.errors), 0),
        Target("the slowest of 100 answers, of the median", _p99(taken) / median(taken), 10),
    ]


def _all(seen: Seen) -> list[float]:
    return [each for taken in seen.seconds.values() for each in taken]


def _p99(taken: Sequence[float]) -> float:
    return quantiles(taken, n=100, method="inclusive")[-1]


if __name__ == "__main__":
    sys.exit(main())
