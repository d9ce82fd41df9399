"""`cpm scan`: has tags scanned now."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cpm.cli import asking
from cpm.cli.asking import reasons
from cpm.cli.connection import connect
from cpm.cli.following import WaitOption, refuse_without_workers, watch
from cpm.cli.terminal import DataOption, JsonOption, complain, say, show

if TYPE_CHECKING:
    from django.db.models import QuerySet

AccountOption = Annotated[
    str | None,
    typer.Option(help="Only this account, by name or id (default: all).", show_default=False),
]

_COLUMNS = ("account", "region", "added", "removed", "changed", "problems", "error")


def scan(
    data: DataOption = None,
    account: AccountOption = None,
    *,
    wait: WaitOption = True,
    as_json: JsonOption = False,
) -> None:
    """Let targets follow the tags on resources now. Exits 1 if a region could not be read."""
    connect(data)
    from cpm.models.events import Stream
    from cpm.queries import events, tagscan
    from cpm.services import settings

    actor = asking.person(None)
    only = asking.account(account, actor) if account else None
    refuse_without_workers()
    log = events.newer_than_now(actor, Stream.TAG_SCAN)
    with reasons():
        places = settings.scan(only.pk if only else None, actor=actor)
    if not wait:
        say(f"Started scans of {len(places)} regions.")
        return
    if only:
        log = log.filter(values__account=only.name)
    what = f"scan of {len(places)} regions"
    watch(what, log, lambda: tagscan.progress(actor, places))
    done = _results(log)
    show(done, columns=_COLUMNS, as_json=as_json)
    failed = [each["region"] for each in done if each["error"]]
    if failed:
        complain(f"Could not be read: {', '.join(failed)}.")
        raise typer.Exit(1)


def _results(log: "QuerySet[Any]") -> list[dict[str, Any]]:
    """What became of each place, by the last lines about it."""
    ends = log.filter(code__in=("scan_finished", "scan_failed")).order_by("pk")
    return [{column: line.values.get(column) for column in _COLUMNS} for line in ends]
