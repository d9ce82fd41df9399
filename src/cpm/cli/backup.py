"""`cpm backup`: the records of runs, and what becomes of them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cpm.cli import asking
from cpm.cli.asking import UserOption, reasons
from cpm.cli.connection import connect
from cpm.cli.records import Record, in_words, record, records
from cpm.cli.terminal import DataOption, JsonOption, print_json, print_line, say, show, show_one

if TYPE_CHECKING:
    from cpm.queries.people import Person

app = typer.Typer(help="Backups: list, show, logs, freeze, delete.", no_args_is_help=True)

BackupArgument = Annotated[int, typer.Argument(help="The backup's id.", show_default=False)]


@app.command("list")
def list_backups(
    policy: Annotated[
        str | None,
        typer.Option(help="Of this policy only, by name or id.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="The newest so many; 0 for all.")] = 20,
    data: DataOption = None,
    user: UserOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List backups, newest first."""
    connect(data)
    from cpm.api.backups import SHAPE
    from cpm.queries import backups

    viewer = asking.person(user)
    rows = backups.listed(viewer, many=not limit).order_by("-pk")
    if policy is not None:
        rows = rows.filter(policy=asking.policy(policy, viewer))
    found = records(rows[:limit] if limit else rows, SHAPE)
    if as_json:
        print_json(found)
        return
    columns = ["id", "policy_name", "status", "start_time", "finish_time", "trigger", "name"]
    show([_summed_up(each) for each in found], columns=columns, as_json=False)


@app.command("show")
def show_backup(
    backup: BackupArgument,
    data: DataOption = None,
    user: UserOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show a backup and its snapshots."""
    connect(data)
    viewer = asking.person(user)
    asking.backup(backup, viewer)
    shown, snapshots = _record(backup, viewer), _snapshots(backup, viewer)
    if as_json:
        print_json({**shown, "snapshots": snapshots})
        return
    show_one(_summed_up(shown))
    print_line("")
    columns = ["id", "snapshot_type", "snapshot_id", "resource_id", "region", "size_gib", "status"]
    show([_snapshot_in_words(each) for each in snapshots], columns=columns, as_json=False)


@app.command()
def logs(
    backup: BackupArgument,
    data: DataOption = None,
    user: UserOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show what happened in a backup."""
    connect(data)
    from cpm.api.logs import SHAPE
    from cpm.queries import events

    viewer = asking.person(user)
    asking.backup(backup, viewer)
    lines = records(events.of_backup(viewer, backup).order_by("pk"), SHAPE)
    if as_json:
        print_json(lines)
        return
    for line in lines:
        print_line(f"{line['time']}  {line['severity']}  {line['message']}")


@app.command()
def freeze(
    backup: BackupArgument,
    name: Annotated[str, typer.Argument(help="What it is to be called.", show_default=False)],
    description: Annotated[str | None, typer.Option(show_default=False)] = None,
    data: DataOption = None,
    user: UserOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Keep a backup from expiring, under a name."""
    connect(data)
    from cpm.services import backups

    actor = asking.person(user)
    asking.backup(backup, actor)
    with reasons():
        backups.freeze(backup, {"name": name, "description": description}, actor=actor)
    if as_json:
        print_json(_record(backup, actor))
    say(f"Backup {backup} is frozen as {name}.")


@app.command()
def delete(
    backup: BackupArgument,
    data: DataOption = None,
    user: UserOption = None,
    *,
    keep_record: Annotated[
        bool, typer.Option("--keep-record", help="Delete its snapshots only.")
    ] = False,
    include_s3: Annotated[
        bool, typer.Option("--include-s3", help="With --keep-record: its copies in S3, too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a backup: its record at once, its snapshots in the background."""
    connect(data)
    import msgspec

    from cpm.api.deletions import shown
    from cpm.services import deletions

    actor = asking.person(user)
    asking.backup(backup, actor)
    with reasons():
        if keep_record:
            choices = deletions.of_backup(backup, actor=actor, dry_run=dry_run, with_s3=include_s3)
        else:
            choices = deletions.backup(backup, actor=actor, dry_run=dry_run)
    rows = [msgspec.to_builtins(shown(choice)) for choice in choices]
    if dry_run or as_json:
        columns = ["snapshot_id", "snapshot_type", "region", "account", "kept_because"]
        show(rows, columns=columns, as_json=as_json)
    if not dry_run:
        say(f"{'The snapshots of backup' if keep_record else 'Backup'} {backup}: deleted.")


def _record(backup_id: int, viewer: "Person") -> Record:
    from cpm.api.backups import SHAPE
    from cpm.queries import backups

    return record(backups.listed(viewer), backup_id, SHAPE)


def _snapshots(backup_id: int, viewer: "Person") -> list[Record]:
    from cpm.api.snapshots import listing_of_all
    from cpm.queries import snapshots

    rows = snapshots.of_backup(viewer, backup_id).order_by("pk")
    return records(rows, listing_of_all().shape)


def _summed_up(shown: Record) -> Record:
    """A record as a person reads it."""
    from cpm.models.backups import BackupOutcome, CopyStatus, Trigger
    from cpm.queries.outcomes import words

    copied = dict(CopyStatus.choices)
    read = in_words(shown, {"status": words(BackupOutcome), "trigger": dict(Trigger.choices)})
    return {
        **read,
        "name": shown.get("name"),
        "dr_status": copied[shown["dr_status"]["status"]],
        "s3_copy_status": _s3_in_words(**shown["s3_copy_status"]),
        "retention": shown["retention"]["reason"],
    }


def _s3_in_words(status: str, progress: Record | None, **_: Any) -> str:
    """How copies in S3 stand, and how far they are while they are being made."""
    from cpm.engine.s3_progress import Progress
    from cpm.models.backups import CopyStatus

    word = str(dict(CopyStatus.choices)[status])
    return f"{word}: {Progress(**progress)}" if progress else word


def _snapshot_in_words(shown: Record) -> Record:
    from cpm.models.snapshots import SnapshotStatus

    return in_words(shown, {"status": dict(SnapshotStatus.choices)})
