"""`cpm recover`: a command for each resource type, with a flag for each of its recover options."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cpm.cli import asking
from cpm.cli.asking import UserOption, reasons
from cpm.cli.connection import connect
from cpm.cli.following import WaitOption, follow
from cpm.cli.records import record
from cpm.cli.terminal import DataOption, JsonOption, complain, fail, print_json, print_line, say
from cpm.resources import registry
from cpm.resources.contract import Driver
from cpm.resources.options import OptionSpec, OptionType, specs

if TYPE_CHECKING:
    from cpm.models.backups import BackupTarget
    from cpm.models.recoveries import Recovery
    from cpm.models.snapshots import Snapshot
    from cpm.queries.people import Person

_PLAIN_TYPES: Mapping[OptionType, Any] = {
    OptionType.BOOLEAN: bool | None,
    OptionType.INTEGER: int | None,
    OptionType.STRING: str | None,
    OptionType.STRINGS: list[str] | None,
    OptionType.OBJECTS: list[str] | None,
    OptionType.MAPPING: list[str] | None,
}
_WRITTEN = {
    OptionType.STRINGS: "Repeatable.",
    OptionType.OBJECTS: "As key=value,key=value; repeatable.",
    OptionType.MAPPING: "As key=value; repeatable.",
}


@dataclass(frozen=True)
class Request:
    """What was asked for at the command line, whatever the type."""

    driver: Driver
    backup: int
    what: str
    data: Path | None
    user: str | None
    wait: bool
    as_json: bool
    wanted: Mapping[str, Any]


def make_app() -> typer.Typer:
    """The command with its subcommands: one for each type that can be recovered."""
    app = typer.Typer(help="Recover a resource from a backup.", no_args_is_help=True)
    for driver in registry.drivers():
        if driver.recover_options is not None:
            app.command(_name(driver), help=_help(driver))(_command(driver))
    return app


def _name(driver: Driver) -> str:
    return driver.target_collection.removesuffix("s").replace("_", "-")


def _help(driver: Driver) -> str:
    article = "an" if driver.label[0] in "AEIOU" else "a"
    return (
        f"Recover {article} {driver.label}; what is not asked for is as the original was."
        " Prints what AWS calls the result; exits 1 unless all went well."
    )


def _command(driver: Driver) -> Callable[..., None]:
    """A function with a parameter for each option, as typer reads them."""

    def recover(**given: Any) -> None:
        common = {name: given.pop(name) for name in ("backup", "what", "data", "user", "wait")}
        wanted = {name: value for name, value in given.items() if value not in (None, [])}
        as_json = wanted.pop("as_json")
        _recover(Request(driver, **common, as_json=as_json, wanted=wanted))

    parameters = [
        *_common_parameters(driver),
        *(_keyword(spec.name, _type(spec), default=None) for spec in _specs(driver)),
    ]
    recover.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    recover.__annotations__ = {each.name: each.annotation for each in parameters}
    return recover


def _specs(driver: Driver) -> list[OptionSpec]:
    return specs(driver.recover_options) if driver.recover_options else []


def _common_parameters(driver: Driver) -> Iterator[Parameter]:
    if driver.is_recovered_whole:
        what = "RESOURCE", f"Which {driver.label}: its id in AWS."
    else:
        what = "SNAPSHOT", "Which snapshot: its id here or in AWS, or the id of what it is of."
    backup = Annotated[int, typer.Argument(help="The backup's id.", show_default=False)]
    named = Annotated[str, typer.Argument(metavar=what[0], help=what[1], show_default=False)]
    yield Parameter("backup", Parameter.POSITIONAL_OR_KEYWORD, annotation=backup)
    yield Parameter("what", Parameter.POSITIONAL_OR_KEYWORD, annotation=named)
    yield _keyword("data", DataOption, default=None)
    yield _keyword("user", UserOption, default=None)
    yield _keyword("wait", WaitOption, default=True)
    yield _keyword("as_json", JsonOption, default=False)
    region = Annotated[str | None, typer.Option(help="Where the snapshot is.", show_default=False)]
    account = Annotated[
        str | None,
        typer.Option(help="Whose credentials are used, by name or id.", show_default=False),
    ]
    yield _keyword("region", region, default=None)
    yield _keyword("account", account, default=None)


def _keyword(name: str, annotation: Any, *, default: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _type(spec: OptionSpec) -> Any:
    meanings = ", ".join(f"{value}: {label}" for value, label in spec.choices.items())
    told = [f"{spec.label}.", spec.help, f"({meanings})" if meanings else ""]
    help_text = " ".join(filter(None, [*told, _WRITTEN.get(spec.type)]))
    flag = f"--{spec.name.replace('_', '-')}"
    declared: dict[str, Any] = {"help": help_text, "show_default": False}
    if spec.type is OptionType.BOOLEAN:
        flag += f"/--no-{spec.name.replace('_', '-')}"
    elif spec.type is OptionType.INTEGER:
        declared |= {"min": spec.minimum, "max": spec.maximum}
    plain = Literal[tuple(spec.choices)] | None if spec.choices else _PLAIN_TYPES[spec.type]
    return Annotated[plain, typer.Option(flag, **declared)]


def _recover(asked: Request) -> None:
    body = _body(asked)
    connect(asked.data)
    from cpm.queries import events, recoveries

    actor = asking.person(asked.user)
    if "account" in body:
        body["account"] = asking.account(body["account"], actor).pk
    asking.backup(asked.backup, actor)
    with reasons():
        recovery = _start(asked, body, actor)
        rows = recoveries.listed(actor).filter(pk=recovery.pk)
        if asked.wait:
            log = events.of_recovery(actor, recovery.pk)
            follow(f"recovery {recovery.pk} of {recovery.resource_id}", rows, log)
    _tell(recovery.pk, actor, as_json=asked.as_json)


def _body(asked: Request) -> dict[str, Any]:
    """What was asked for as the API's body; ends the command where it cannot be read."""
    by_name = {spec.name: spec for spec in _specs(asked.driver)}
    body = dict(asked.wanted)
    for name, value in asked.wanted.items():
        if name in by_name and by_name[name].type is OptionType.MAPPING:
            body[name] = dict(_pair(each, name) for each in value)
        elif name in by_name and by_name[name].type is OptionType.OBJECTS:
            body[name] = [dict(_pair(part, name) for part in each.split(",")) for each in value]
    return body


def _pair(text: str, name: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        flag = f"--{name.replace('_', '-')}"
        raise typer.BadParameter(f"{text!r} is not of the form key=value.", param_hint=flag)
    return key.strip(), value


def _start(asked: Request, body: dict[str, Any], actor: "Person") -> "Recovery":
    from cpm.services import recoveries

    driver, backup_id = asked.driver, asked.backup
    if driver.is_recovered_whole:
        target = _target(asked, actor)
        return recoveries.of_resource(backup_id, driver, target.pk, body, actor=actor)
    snapshot = _snapshot(asked, actor)
    _, collection = registry.by_snapshot_collection(snapshot.collection)
    return recoveries.from_snapshot(backup_id, driver, collection, snapshot.pk, body, actor=actor)


def _target(asked: Request, viewer: "Person") -> "BackupTarget":
    from cpm.queries import snapshots

    rows = snapshots.resources(viewer, asked.backup, asked.driver)
    target = rows.filter(resource_id=asked.what).first()
    if target is None:
        fail(f"Backup {asked.backup} has no {asked.driver.label} {asked.what}.")
    return target


def _snapshot(asked: Request, viewer: "Person") -> "Snapshot":
    """The snapshot that is meant; the id of a resource means the original, not its copies."""
    from cpm.queries import snapshots

    collections = [each.name for each in asked.driver.snapshot_collections if each.can_recover]
    rows = snapshots.of_backup(viewer, asked.backup).filter(collection__in=collections)
    ways: list[dict[str, Any]] = [
        {"aws_ref": asked.what},
        {"resource_id": asked.what, "source_snapshot": None},
        *([{"pk": int(asked.what)}] if asked.what.isdigit() else []),
    ]
    found = next(filter(None, (list(rows.filter(**way).order_by("pk")) for way in ways)), [])
    if not found:
        fail(f"Backup {asked.backup} has no snapshot {asked.what} of this kind.")
    if len(found) > 1:
        ids = ", ".join(str(each.pk) for each in found)
        fail(f"Several snapshots are of {asked.what}; name one of them: {ids}.")
    return found[0]


def _tell(recovery_id: int, viewer: "Person", *, as_json: bool) -> None:
    """Say what became of it, as far as is known."""
    from cpm.api.recoveries import SHAPE
    from cpm.models.recoveries import RecoveryOutcome
    from cpm.queries import recoveries
    from cpm.queries.outcomes import IN_PROGRESS, words

    shown = record(recoveries.listed(viewer), recovery_id, SHAPE)
    is_open = shown["status"] == IN_PROGRESS
    if as_json:
        print_json(shown)
    else:
        for line in [str(recovery_id)] if is_open else shown["result_resource_ids"]:
            print_line(line)
    text = f"Recovery {recovery_id}: {words(RecoveryOutcome)[shown['status']].lower()}"
    if is_open or shown["status"] == RecoveryOutcome.SUCCEEDED:
        say(f"{text}.")
        return
    complain(f"{text}: {shown['error']}" if shown["error"] else f"{text}.")
    raise typer.Exit(1)


app = make_app()
