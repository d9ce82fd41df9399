"""`cpm user`: users, from the machine itself.

The commands act for the operator of the machine, as root would.
"""

import sys
from typing import Annotated

import typer

from cpm.cli.connection import connect
from cpm.cli.terminal import DataOption, JsonOption, fail, say, show

app = typer.Typer(help="Users: list, create, set a password.", no_args_is_help=True)

PasswordOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]


@app.command("list")
def list_users(data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """List all users."""
    connect(data)
    from cpm.queries import people, users

    rows = [
        {"id": user.pk, "username": user.username, "user_type": user.kind, "email": user.email}
        for user in users.visible_to(people.operator()).order_by("pk")
    ]
    show(rows, columns=["id", "username", "user_type", "email"], as_json=as_json)


@app.command()
def create(
    username: str,
    data: DataOption = None,
    user_type: Annotated[str, typer.Option(help="M (managed) or I (independent).")] = "M",
    email: Annotated[str, typer.Option()] = "",
    *,
    password_stdin: PasswordOption = False,
) -> None:
    """Make a user."""
    connect(data)
    from cpm.kernel.invalid import Invalid
    from cpm.queries import people
    from cpm.services import users
    from cpm.services.errors import Refused

    password = _password(from_stdin=password_stdin)
    wanted = {"username": username, "password": password, "user_type": user_type, "email": email}
    try:
        users.create(wanted, actor=people.operator())
    except (Invalid, Refused) as error:
        fail(str(error))
    say(f"User {username} is made.")


@app.command()
def password(
    username: str, data: DataOption = None, *, password_stdin: PasswordOption = False
) -> None:
    """Set the password of a user, root included."""
    connect(data)
    from cpm.kernel.invalid import Invalid
    from cpm.queries import people
    from cpm.queries.errors import NotFound
    from cpm.services import users

    try:
        user = people.named(username)
        new = _password(from_stdin=password_stdin)
        users.reset_password(user.pk, {"new_password": new}, actor=people.operator())
    except (Invalid, NotFound) as error:
        fail(str(error))
    say(f"The password of {username} is set.")


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
