"""`cpm notify`: the channels by which a user is told of alerts."""

import sys
from typing import Annotated

import typer

from cpm.cli import asking
from cpm.cli.asking import UserOption, reasons
from cpm.cli.connection import connect
from cpm.cli.following import WaitOption, refuse_without_workers
from cpm.cli.records import record, records
from cpm.cli.terminal import DataOption, JsonOption, fail, print_json, say, show
from cpm.kernel import clock

app = typer.Typer(help="Notifications: list, add, test and remove channels.", no_args_is_help=True)

ChannelArgument = Annotated[
    str, typer.Argument(help="The channel's name or id.", show_default=False)
]

# A worker sends at once, and gives the receiver ten seconds.
_PATIENCE_SECONDS = 60.0
_COLUMNS = ("id", "name", "channel_type", "enabled", "least_severity", "error")


@app.command("list")
def list_channels(
    data: DataOption = None, user: UserOption = None, *, as_json: JsonOption = False
) -> None:
    """List channels, with what the last attempt ended with."""
    connect(data)
    from cpm.api.notifications import CHANNEL
    from cpm.queries import notifications

    rows = notifications.visible_to(asking.person(user)).order_by("pk")
    show(records(rows, CHANNEL), columns=_COLUMNS, as_json=as_json)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What it is to be called.", show_default=False)],
    *,
    email: Annotated[
        str | None, typer.Option(help="Tell this address by e-mail.", show_default=False)
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(help="Post to this URL.", show_default=False)
    ] = None,
    secret_stdin: Annotated[
        bool,
        typer.Option("--secret-stdin", help="Read a webhook's secret from standard input."),
    ] = False,
    sns_account: Annotated[
        str | None, typer.Option(help="Publish to a topic of this account.", show_default=False)
    ] = None,
    sns_region: Annotated[
        str | None, typer.Option(help="The region of the topic.", show_default=False)
    ] = None,
    topic_arn: Annotated[
        str | None, typer.Option(help="The topic; else the server makes one.", show_default=False)
    ] = None,
    data: DataOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a channel: --email, --webhook, or --sns-account with --sns-region."""
    kinds = {"email": email, "webhook": webhook, "sns": sns_account}
    chosen = [kind for kind, value in kinds.items() if value is not None]
    if len(chosen) != 1:
        raise typer.BadParameter("one of --email, --webhook and --sns-account is needed")
    connect(data)
    from cpm.api.notifications import CHANNEL
    from cpm.queries import notifications
    from cpm.services import notifications as services

    actor = asking.person(user)
    account = asking.account(sns_account, actor).pk if sns_account is not None else None
    wanted = {"email": email, "url": webhook, "account": account, "region": sns_region}
    wanted |= {"name": name, "channel_type": chosen[0], "topic_arn": topic_arn}
    if webhook is not None:
        wanted["secret"] = _secret(from_stdin=secret_stdin)
    given = {key: value for key, value in wanted.items() if value is not None}
    with reasons():
        channel = services.create(given, actor=actor)
    if as_json:
        print_json(record(notifications.visible_to(actor), channel.pk, CHANNEL))
    say(f"Channel {name} is made. Try it with: cpm notify test {channel.pk}")


@app.command("test")
def send_test(
    channel: ChannelArgument,
    data: DataOption = None,
    user: UserOption = None,
    *,
    wait: WaitOption = True,
) -> None:
    """Send a test message. Exits 1 if it does not arrive at the first attempt."""
    connect(data)
    from cpm.queries import notifications
    from cpm.services import notifications as services

    actor = asking.person(user)
    named = asking.channel(channel, actor)
    refuse_without_workers()
    with reasons():
        delivery = services.test(named.pk, actor=actor)
    if not wait:
        say("The message is on its way.")
        return
    rows = notifications.deliveries(actor, named.pk).filter(pk=delivery.pk)
    tried = rows.filter(attempts__gt=0)
    if not clock.wait_until(tried.exists, timeout_seconds=_PATIENCE_SECONDS):
        fail("Nobody has sent the message yet; it is still on its way.")
    error = rows.values_list("error", flat=True).get()
    if error:
        fail(f"The message did not arrive: {error}")
    say(f"Channel {named.name} has the message.")


@app.command()
def remove(channel: ChannelArgument, data: DataOption = None, user: UserOption = None) -> None:
    """Remove a channel. A topic that the server has made stays in AWS."""
    connect(data)
    from cpm.services import notifications as services

    actor = asking.person(user)
    named = asking.channel(channel, actor)
    with reasons():
        services.delete(named.pk, actor=actor)
    say(f"Channel {named.name} is removed.")


def _secret(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    return str(typer.prompt("Secret", hide_input=True, confirmation_prompt=True, err=True))
