"""`cpm policy`: what is protected, and runs of it."""

from typing import TYPE_CHECKING, Annotated

import typer

from cpm.cli import asking
from cpm.cli.asking import UserOption, reasons
from cpm.cli.connection import connect
from cpm.cli.following import WaitOption, follow
from cpm.cli.records import Record, record, records
from cpm.cli.terminal import (
    DataOption,
    JsonOption,
    complain,
    print_json,
    print_line,
    say,
    show,
    show_one,
)

if TYPE_CHECKING:
    from cpm.models.policies import Policy
    from cpm.queries.people import Person

app = typer.Typer(help="Policies: list, show, run.", no_args_is_help=True)

PolicyArgument = Annotated[str, typer.Argument(help="The policy's name or id.", show_default=False)]


@app.command("list")
def list_policies(
    data: DataOption = None, user: UserOption = None, *, as_json: JsonOption = False
) -> None:
    """List policies."""
    connect(data)
    from cpm.api.policies import SHAPE
    from cpm.queries import policies

    found = records(policies.listed(asking.person(user)).order_by("pk"), SHAPE)
    if as_json:
        print_json(found)
        return
    columns = ["id", "name", "user", "account", "enabled", "generations", "last_backup", "status"]
    show([_summed_up(each) for each in found], columns=columns, as_json=False)


@app.command("show")
def show_policy(
    policy: PolicyArgument,
    data: DataOption = None,
    user: UserOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show a policy and its targets."""
    connect(data)
    viewer = asking.person(user)
    named = asking.policy(policy, viewer)
    shown, targets = _record(named, viewer), _targets(named, viewer)
    if as_json:
        print_json({**shown, "targets": targets})
        return
    show_one(_summed_up(shown))
    print_line("")
    columns = ["target_type", "resource_id", "name", "region", "status", "added_by"]
    show(targets, columns=columns, as_json=False)


@app.command()
def run(
    policy: PolicyArgument,
    data: DataOption = None,
    user: UserOption = None,
    *,
    wait: WaitOption = True,
    as_json: JsonOption = False,
) -> None:
    """Run a policy now; prints the backup's id. Exits 1 unless all of it is protected."""
    connect(data)
    from cpm.api.backups import SHAPE
    from cpm.models.backups import BackupOutcome
    from cpm.queries import backups, events
    from cpm.services import backups as services

    actor = asking.person(user)
    named = asking.policy(policy, actor)
    with reasons():
        backup = services.start(named.pk, actor=actor)
        what = f"backup {backup.pk} of {named.name}"
        rows = backups.listed(actor).filter(pk=backup.pk)
        outcome = follow(what, rows, events.of_backup(actor, backup.pk)) if wait else ""
    if as_json:
        print_json(record(rows, backup.pk, SHAPE))
    else:
        print_line(str(backup.pk))
    if not wait:
        say(f"Started {what}.")
    elif outcome == BackupOutcome.SUCCEEDED:
        say(f"{what.capitalize()}: successful.")
    else:
        complain(f"{what.capitalize()}: {BackupOutcome(outcome).label.lower()}.")
        raise typer.Exit(1)


def _record(policy: "Policy", viewer: "Person") -> Record:
    from cpm.api.policies import SHAPE
    from cpm.queries import policies

    return record(policies.listed(viewer), policy.pk, SHAPE)


def _targets(policy: "Policy", viewer: "Person") -> list[Record]:
    from cpm.api.targets import listing_of_all
    from cpm.queries import targets

    return records(targets.of_policy(viewer, policy.pk).order_by("pk"), listing_of_all().shape)


def _summed_up(shown: Record) -> Record:
    """A record with its last backup as a person reads it."""
    from cpm.models.backups import BackupOutcome
    from cpm.queries.outcomes import words

    last = shown["last_backup"] or {}
    status = words(BackupOutcome).get(last.get("status", ""))
    return {**shown, "last_backup": last.get("start_time"), "status": status}
