"""Every command of `cpm` that is over at once, run in this process as a terminal would run it."""

import logging
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import typer
from django.db import connection
from typer.testing import CliRunner

from cpm.cli.main import COMMANDS, make_app
from tests.api.cast import PASSWORD, Caller

APP = make_app(COMMANDS)
# They go on until they are stopped, or are for a database of their own.
_PROCESSES = {"serve", "web", "worker", "demo", "simulator", "migrate"}
# What every command that has such an option is given.
_OPTIONS = ("--password-stdin", "--secret-stdin", "--passphrase-file")


@dataclass(frozen=True)
class Command:
    """One command, with its arguments and options as typer knows them."""

    words: tuple[str, ...]
    parameters: tuple[Any, ...]

    @property
    def name(self) -> str:
        return " ".join(self.words)

    @property
    def is_process(self) -> bool:
        """Whether it can only be asked for help here."""
        return self.words[0] in _PROCESSES

    def line(self, given: Mapping[str, str]) -> list[str]:
        """What one types: its arguments and required options by name, and what else it can take."""
        typed = list(self.words)
        for each in self.parameters:
            value = given.get(f"{self.name} {each.name}", given.get(each.name, "1"))
            if each.param_type_name == "argument":
                typed.append(value)
            elif each.required or each.opts[0] in _OPTIONS:
                typed += [each.opts[0], value] if not each.is_flag else [each.opts[0]]
            elif "--no-wait" in each.secondary_opts:
                typed.append("--no-wait")
            elif f"{self.name} {each.name}" in given:
                typed += [each.opts[0], given[f"{self.name} {each.name}"]]
        return typed


def commands() -> Iterator[Command]:
    """All there are."""
    yield from _below(typer.main.get_command(APP), ())


def _below(command: Any, words: tuple[str, ...]) -> Iterator[Command]:
    if not hasattr(command, "commands"):
        yield Command(words, tuple(command.params))
        return
    for name, each in command.commands.items():
        yield from _below(each, (*words, name))


def arguments(root: Caller, ids: Mapping[str, int], folder: Path) -> dict[str, str]:
    """What commands are given that they can do something with, by what they call it."""
    passphrase = folder / "passphrase"
    passphrase.write_text("a passphrase")
    backup = ids["backups"]
    instance = f"/backups/{backup}/snapshots/instances/{ids['snapshots/instances']}/"
    snapshots = {
        f"recover {collection.removesuffix('s').replace('_', '-')} what": str(snapshot_id)
        for key, snapshot_id in ids.items()
        for collection in [key.removeprefix("snapshots/")]
    }
    return {
        **snapshots,
        "recover instance what": root.get(instance).json["instance_id"],
        "policy": str(ids["policies"]),
        "backup": str(backup),
        "name": "kept",
        "channel": str(ids["notifications/channels"]),
        "username": "mia",
        "user create username": "newcomer",
        "address": "s3://nowhere/prefix",
        "notify add webhook": "https://hooks.example.com/",
        "to": str(folder / "image"),
        "passphrase": str(passphrase),
    }


def run(line: list[str], stdin: str = f"{PASSWORD}\n") -> tuple[int, str]:
    """The exit status of a command and all that it says, log lines and tracebacks as well."""
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        result = CliRunner().invoke(APP, line, input=stdin)
    finally:
        logging.root.handlers[:], logging.root.level = handlers, level
        structlog.reset_defaults()
    said = result.output
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        said += "".join(traceback.format_exception(result.exception))
    return result.exit_code, said


def have_a_worker() -> None:
    """Let it seem as if there were somebody who does what commands ask for."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now())")
