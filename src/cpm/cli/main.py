"""The `cpm` command: its subcommands, and how every one of them ends."""

import sys
from collections.abc import Iterable
from importlib import import_module

import typer

from cpm.cli.connection import database_trouble
from cpm.cli.terminal import complain
from cpm.config.environment import BadEnvironment
from cpm.kernel import memory

# In the order in which help lists them. Each is a module here, with a function of that name or,
# for those with subcommands, an `app`.
COMMANDS = (
    *("serve", "demo", "web", "worker", "migrate", "doctor", "iam-policy", "simulator"),
    *("scan", "cleanup", "policy", "backup", "recover", "archive", "notify", "user", "apikey"),
)


def make_app(commands: Iterable[str]) -> typer.Typer:
    """The command with these subcommands."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(cpm)
    for command in commands:
        name = command.replace("-", "_")
        module = import_module(f"cpm.cli.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=command)
        else:
            app.command(command)(getattr(module, name))
    return app


def cpm() -> None:
    """Cloud Protection Manager: backup and disaster recovery for AWS."""


def main() -> None:
    """Runs the command line; exits 0 done, 1 failed, 2 wrong usage."""
    memory.settle()
    # All of them take a second to import, the one that is asked for much less.
    asked = [command for command in sys.argv[1:2] if command in COMMANDS]
    try:
        make_app(asked or COMMANDS)()
    except BadEnvironment as error:
        complain(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        told = database_trouble(error)
        if not told:
            raise
        complain(told)
        sys.exit(1)
