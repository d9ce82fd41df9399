"""The API's read path, beside Django REST framework and beside the least that is possible.

    python -m bench.api [--rows N] [--seconds S] [--quick]

One process asks through Django's WSGI handler, without a network. What counts is CPU, because the
machine may have other things to do.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
from django.http import HttpRequest
from rich.console import Console

from bench import records
from bench.client import ADDRESS
from bench.contenders import MAKERS, PAGE_ROWS, Contender
from bench.cost import Cost, measure
from bench.database import empty_database
from bench.records import Estate
from bench.verdicts import Target, console, show_targets, table
from bench.whole import Whole
from cpm.api import authentication
from cpm.queries import metrics

_ROWS, _SECONDS = 200_000, 12.0
_QUICK_ROWS, _QUICK_SECONDS = 20_000, 3.0
_API, _PLAIN, _FLOOR = MAKERS

_ONE, _FIRST, _DEEP = "one record", "page 1 with count", "deep page with count"


@dataclass(frozen=True)
class Results:
    """Everything that one run has measured."""

    requests: dict[str, dict[str, Cost]]
    authentication: Cost
    numbers: Cost
    lists: dict[str, Whole]

    def share(self, case: str, name: str) -> float:
        """CPU of the API's process over that of another contender's."""
        costs = self.requests[case]
        return costs[_API].cpu_ms / costs[name].cpu_ms

    @property
    def token_share(self) -> float:
        """The part of the CPU of a small request that goes into the check of its token."""
        return self.authentication.cpu_ms / self.requests[_ONE][_API].cpu_ms


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print what came of it."""
    wanted = _parser().parse_args(arguments)
    rows = wanted.rows or (_QUICK_ROWS if wanted.quick else _ROWS)
    seconds = wanted.seconds or (_QUICK_SECONDS if wanted.quick else _SECONDS)
    out = console()
    with empty_database():
        out.print(f"Planting {rows:,} backup records ...")
        estate = records.plant(rows)
        records.tidy()
        deep_page = rows * 3 // 4 // PAGE_ROWS
        out.print(f"Asking; the deep page is page {deep_page} of {PAGE_ROWS} ...")
        results = _measure(estate, deep_page, seconds)
    _show_requests(out, results)
    _show_lists(out, results.lists)
    show_targets(out, _targets(results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.api", description=__doc__)
    parser.add_argument("--rows", type=int, help=f"backup records (default {_ROWS:,})")
    parser.add_argument("--seconds", type=float, help=f"for each case (default {_SECONDS:g})")
    parser.add_argument(
        "--quick", action="store_true", help=f"{_QUICK_ROWS:,} records, {_QUICK_SECONDS:g} seconds"
    )
    return parser


def _measure(estate: Estate, deep_page: int, seconds: float) -> Results:
    contenders = {name: make(estate.token) for name, make in MAKERS.items()}
    questions: dict[str, Callable[[Contender], bytes]] = {
        _ONE: lambda contender: contender.one(estate.some_id),
        _FIRST: lambda contender: contender.page(1),
        _DEEP: lambda contender: contender.page(deep_page),
    }
    requests = {}
    for case, question in questions.items():
        _check_alike({name: question(each) for name, each in contenders.items()})
        calls = {
            name: (partial(question, each), each.postgres_pid())
            for name, each in contenders.items()
        }
        requests[case] = measure(calls, seconds=seconds)
    postgres_pid = contenders[_API].postgres_pid()
    check = (_check_of_token(estate.token), postgres_pid)
    checks = measure({_API: check}, seconds=1)
    numbers = measure({_API: (lambda: list(metrics.measured()), postgres_pid)}, seconds=1)
    lists = {name: _read_whole(name, estate.token) for name in MAKERS}
    return Results(requests, checks[_API], numbers[_API], lists)


def _check_alike(answers: dict[str, bytes]) -> None:
    """What is compared must be the same, but for the addresses of neighbouring pages."""
    told = [msgspec.json.decode(answer) for answer in answers.values()]
    records_told = [answer.get("results", answer) for answer in told]
    if any(one != records_told[0] for one in records_told):
        raise AssertionError(f"the answers differ: {answers}")


def _check_of_token(token: str) -> Callable[[], object]:
    request = HttpRequest()
    request.META = {"HTTP_AUTHORIZATION": f"Bearer {token}", "REMOTE_ADDR": ADDRESS}
    return partial(authentication.person, request)


def _read_whole(name: str, token: str) -> Whole:
    command = [sys.executable, "-m", "bench.whole", name, token]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return msgspec.json.decode(told, type=Whole)


def _show_requests(out: Console, results: Results) -> None:
    columns = ["CPU ms", "PostgreSQL ms", "by the clock ms", "CPU, API / this"]
    shown = table("A request", "", *columns)
    for case, costs in results.requests.items():
        for name, cost in costs.items():
            share = f"{results.share(case, name):.2f}"
            shown.add_row(f"{case}: {name}", *_in_ms(cost), share)
        shown.add_section()
    shown.add_row("check of the token alone", *_in_ms(results.authentication), "")
    shown.add_row("numbers of /metrics", *_in_ms(results.numbers), "")
    out.print(shown)


def _in_ms(cost: Cost) -> tuple[str, str, str]:
    return f"{cost.cpu_ms:.2f}", f"{cost.postgres_ms:.2f}", f"{cost.wall_ms:.2f}"


def _show_lists(out: Console, lists: dict[str, Whole]) -> None:
    columns = ["CPU s", "PostgreSQL s", "by the clock s", "first byte ms", "memory grew MiB"]
    shown = table("The whole list", "", *columns, "body MiB", "CPU, this / API")
    for name, one in lists.items():
        cost = one.cost
        shown.add_row(
            name,
            *(f"{ms / 1000:.2f}" for ms in (cost.cpu_ms, cost.postgres_ms, cost.wall_ms)),
            f"{one.first_byte_ms:.0f}",
            f"{one.grown_mib:.1f}",
            f"{one.body_mib:.1f}",
            f"{cost.all_ms / lists[_API].cost.all_ms:.1f}",
        )
    out.print(shown)


def _targets(results: Results) -> Iterator[Target]:
    requests, lists = results.requests, results.lists
    first, deep = requests[_FIRST][_API], requests[_DEEP][_API]
    yield Target("one record: CPU, of the plain view's", results.share(_ONE, _PLAIN), 0.5)
    yield Target("page of 50: CPU, of the plain view's", results.share(_FIRST, _PLAIN), 1 / 3)
    yield Target("deep page: CPU with PostgreSQL's, of page 1", deep.all_ms / first.all_ms, 2)
    yield Target("check of the token: CPU, of one record", results.token_share, 0.15)
    yield Target("numbers of /metrics: CPU with PostgreSQL's", results.numbers.all_ms, 50, " ms")
    speed = lists[_PLAIN].cost.all_ms / lists[_API].cost.all_ms
    yield Target("whole list: times as fast as the plain view", speed, 12, at_least=True)
    yield Target("whole list: first byte", lists[_API].first_byte_ms, 200, " ms")
    yield Target("whole list: memory grows by", lists[_API].grown_mib, 20, " MiB")


if __name__ == "__main__":
    main()
