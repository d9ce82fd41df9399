"""`cpm iam-policy`: what an AWS account has to allow the server."""

from typing import Annotated

import typer

from cpm.cli.terminal import print_json, say
from cpm.resources import permissions
from cpm.resources.permissions import AccountType


def iam_policy(
    account_type: Annotated[
        AccountType, typer.Option(help="What the server uses the account for.")
    ] = AccountType.BACKUP,
    part: Annotated[
        int | None,
        typer.Option(min=1, help="Print this one, where it takes several.", show_default=False),
    ] = None,
    assume_role: Annotated[
        list[str] | None,
        typer.Option(
            help="The ARN of a role in another account that the server enters by way of this one; "
            "repeatable.",
            show_default=False,
        ),
    ] = None,
    *,
    forbid_deleting: Annotated[
        bool,
        typer.Option(
            "--forbid-deleting",
            help="Of a DR account: let the server mark what has expired, and delete no snapshot.",
        ),
    ] = False,
) -> None:
    """Print the least IAM policy with which the server can do its work, as JSON.

    It follows from what each resource type declares. Where it does not fit into one managed policy,
    an array of several is printed. Worker machines need none: they are lent what they need. The
    server's own role (authentication R) has to trust itself for that.
    """
    if forbid_deleting and account_type is not AccountType.DR:
        raise typer.BadParameter("only DR accounts can forbid deleting")
    documents = permissions.documents(
        account_type, may_delete=not forbid_deleting, roles=assume_role or ()
    )
    if part is not None and part > len(documents):
        raise typer.BadParameter(f"there are {len(documents)}", param_hint="--part")
    if part is not None:
        print_json(documents[part - 1])
    elif len(documents) == 1:
        print_json(documents[0])
    else:
        print_json(documents)
        say(f"It takes {len(documents)} managed policies; print each of them with --part.")
