"""The `cpm` command: its subcommands, and how every one of them ends."""

import sys

import typer

from cpm.cli import (
    apikey,
    archive,
    backup,
    cleanup,
    demo,
    doctor,
    iam_policy,
    migrate,
    policy,
    recover,
    scan,
    serve,
    simulator,
    user,
    web,
    worker,
)
from cpm.cli.terminal import complain
from cpm.config.environment import BadEnvironment

app = typer.Typer(
    help="Cloud Protection Manager: backup and disaster recovery for AWS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("web")(web.web)
app.command("worker")(worker.worker)
app.command("migrate")(migrate.migrate)
app.command("doctor")(doctor.doctor)
app.command("iam-policy")(iam_policy.iam_policy)
app.command("simulator")(simulator.simulator)
app.command("scan")(scan.scan)
app.command("cleanup")(cleanup.cleanup)
app.add_typer(policy.app, name="policy")
app.add_typer(backup.app, name="backup")
app.add_typer(recover.make_app(), name="recover")
app.add_typer(archive.app, name="archive")
app.add_typer(user.app, name="user")
app.add_typer(apikey.app, name="apikey")


def main() -> None:
    """Runs the command line; exits 0 done, 1 failed, 2 wrong usage."""
    try:
        app()
    except BadEnvironment as error:
        complain(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
