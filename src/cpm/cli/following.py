"""Watches a record to its end: a bar that says how far it is, and its log as it grows."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cpm.cli.terminal import fail, progress_bars, stderr
from cpm.kernel import clock

if TYPE_CHECKING:
    from django.db.models import QuerySet

WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait for the end, and show how far it is.")
]

LOOK_SECONDS = 0.5
# A server that is started anew has no worker for a moment.
PATIENCE_SECONDS = 15.0


def follow(what: str, rows: "QuerySet[Any]", log: "QuerySet[Any]") -> str:
    """Wait until the record, the one row of `rows`, is closed; its outcome.

    Whoever interrupts it stops watching, nothing else.
    """
    outcome = ""

    def percent() -> int:
        nonlocal outcome
        row = rows.values("outcome", "progress").first()
        if row is None:
            fail(f"The record of the {what} was deleted.")
        outcome = row["outcome"]
        return 100 if outcome else min(row["progress"], 99)

    _show(what, log, percent)
    return outcome


def watch(what: str, log: "QuerySet[Any]", percent: Callable[[], int | None]) -> None:
    """Show a bar and the log until all is done; None is work of unknown length.

    Ends the command when there is nobody any longer who would do the work.
    """
    from cpm.queries import health

    seen_at = clock.monotonic()

    def percent_while_somebody_works() -> int | None:
        nonlocal seen_at
        done = percent()
        if done == 100 or health.workers().ok:
            seen_at = clock.monotonic()
        elif clock.monotonic() - seen_at > PATIENCE_SECONDS:
            refuse_without_workers()
        return done

    _show(what, log, percent_while_somebody_works)


def _show(what: str, log: "QuerySet[Any]", percent: Callable[[], int | None]) -> None:
    with progress_bars(stderr) as bars:
        bar = bars.add_task(what, total=None)
        show_log = _show_new_lines_of(log, lambda text: bars.console.print(text, markup=False))
        while (done := percent()) != 100:
            show_log()
            bars.update(bar, completed=done or 0, total=None if done is None else 100)
            clock.sleep(LOOK_SECONDS)
        show_log()
        bars.update(bar, completed=100, total=100)


def refuse_without_workers() -> None:
    """End the command where nobody would do what it asks for."""
    from cpm.queries import health

    workers = health.workers()
    if not workers.ok:
        fail(f"{workers.detail.capitalize()}. {workers.advice}")


def _show_new_lines_of(log: "QuerySet[Any]", show: Callable[[str], None]) -> Callable[[], None]:
    from cpm.engine.events import text

    last = 0

    def show_new() -> None:
        nonlocal last
        for line in log.filter(pk__gt=last).order_by("pk"):
            show(text(line.code, line.values))
            last = line.pk

    return show_new
