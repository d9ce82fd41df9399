"""What commands print: results on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from cpm.kernel import amounts

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="CPM_DATA",
        help="The data directory (default /var/lib/cpm).",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

stderr = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """Tells the person at the terminal something; scripts do not read it."""
    stderr.print(text, soft_wrap=True)


def complain(text: str) -> None:
    """Tells what is wrong, without any markup being read into it."""
    stderr.print(text, style="bold red", markup=False, soft_wrap=True)


def fail(text: str) -> NoReturn:
    """Ends the command with status 1 and the reason."""
    complain(text)
    raise typer.Exit(1)


def show(rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str], as_json: bool) -> None:
    """Prints a list: a table for people, an array for scripts."""
    if as_json:
        print_json(list(rows))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "))
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)


def show_one(record: Mapping[str, Any]) -> None:
    """Prints a record for people: a line for each key."""
    width = max(map(len, record))
    for key, value in record.items():
        print_line(f"{key.replace('_', ' '):{width}}  {_cell(value)}")


def progress_bars(console: Console) -> Progress:
    """Bars that say how far things are; where nobody watches, how they ended."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
    )


@contextmanager
def data_bar(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar of data that is moved, with rate and time left; it is told of numbers of bytes.

    Where nobody watches, lines say the same now and then.
    """
    columns = (DownloadColumn(binary_units=True), _Rate(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), BarColumn(), *columns, console=stderr) as bars:
        bar = bars.add_task(what, total=total_bytes)
        tenths = 0

        def advance(moved_bytes: int) -> None:
            nonlocal tenths
            bars.advance(bar, moved_bytes)
            task = bars.tasks[0]
            is_news = int(task.percentage) // 10 > tenths and not task.finished
            if is_news and not stderr.is_terminal:
                tenths = int(task.percentage) // 10
                say(f"{task.percentage:.0f} %, {_rate(task)}, {_time_left(task)} left")

        yield advance


class _Rate(ProgressColumn):
    """How fast it goes, in the units of everything else."""

    def render(self, task: Task) -> Text:
        return Text(_rate(task))


def _rate(task: Task) -> str:
    return f"{amounts.size(task.finished_speed or task.speed or 0)}/s"


def _time_left(task: Task) -> str:
    return amounts.wait(task.time_remaining)


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_line(text: str) -> None:
    """One line on stdout, as it is."""
    sys.stdout.write(text + "\n")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_cell, value)) or "-"
    return str(value)
