"""`cpm apikey`: API Authentication Keys.

The commands act for the operator of the machine, as root would.
"""

from typing import TYPE_CHECKING

import typer

from cpm.cli.connection import connect
from cpm.cli.terminal import DataOption, JsonOption, fail, print_json, print_line, say

if TYPE_CHECKING:
    from cpm.models.users import User

app = typer.Typer(help="API Authentication Keys: create, show, revoke.", no_args_is_help=True)


@app.command()
def create(username: str, data: DataOption = None) -> None:
    """Make a new key for a user or delegate; an older one ends. The key is the last line."""
    connect(data)
    from cpm.queries import people
    from cpm.services import tokens

    key = tokens.create_key(_person(username), actor=people.operator())
    say("This key is shown once; the server keeps only a hash of it.")
    print_line(key)


@app.command()
def show(username: str, data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Tell whether a user or delegate has a key, and since when."""
    connect(data)
    from cpm.services import tokens

    description = tokens.describe_key(_person(username))
    if as_json:
        print_json(description)
    elif description["created_at"] is None:
        print_line(f"{username} has no API key.")
    else:
        print_line(f"{username} has an API key since {description['created_at']}.")


@app.command()
def revoke(username: str, data: DataOption = None) -> None:
    """End a key and every token that was obtained with it."""
    connect(data)
    from cpm.queries import people
    from cpm.services import tokens

    if not tokens.revoke_key(_person(username), actor=people.operator()):
        fail(f"{username} has no API key.")
    say(f"The API key of {username} is revoked.")


def _person(username: str) -> "User":
    from cpm.queries import people
    from cpm.queries.errors import NotFound

    try:
        return people.named(username)
    except NotFound as error:
        fail(error.message)
