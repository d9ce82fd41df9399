"""Who gives a command, what he means by a name, and how he learns why it is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cpm.cli.terminal import fail
from cpm.kernel.faults import Fault
from cpm.kernel.invalid import Invalid

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from cpm.models.accounts import Account
    from cpm.models.backups import Backup
    from cpm.models.notifications import Channel
    from cpm.models.policies import Policy
    from cpm.queries.people import Person

Named = TypeVar("Named", "Policy", "Account", "Channel")

UserOption = Annotated[
    str | None,
    typer.Option(
        "--user", help="Act as this user or delegate (default: root).", show_default=False
    ),
]


@contextmanager
def reasons() -> Iterator[None]:
    """End the command with the reason where the server will not do what is inside."""
    from cpm.queries.errors import NotFound
    from cpm.services.errors import Refused

    try:
        yield
    except (Invalid, NotFound, Refused, Fault) as error:
        fail(str(error))


def person(username: str | None) -> "Person":
    """The user or delegate of this name; root, who works at the machine, where none is given."""
    from cpm.queries import people

    if username is None:
        return people.operator()
    with reasons():
        return people.of(people.named(username), source_address="command line")


def policy(named: str, viewer: "Person") -> "Policy":
    """The policy of this name or id."""
    from cpm.queries import policies

    return _one("policy", named, policies.visible_to(viewer))


def account(named: str, viewer: "Person") -> "Account":
    """The account of this name or id, of either kind."""
    from cpm.queries import accounts

    return _one("account", named, accounts.visible_to(viewer))


def channel(named: str, viewer: "Person") -> "Channel":
    """The channel of notifications of this name or id."""
    from cpm.queries import notifications

    return _one("channel", named, notifications.visible_to(viewer))


def backup(backup_id: int, viewer: "Person") -> "Backup":
    """The record of this id."""
    from cpm.queries import backups

    found = backups.visible_to(viewer).filter(pk=backup_id).first()
    if found is None:
        fail(f"There is no backup {backup_id}.")
    return found


def _one(noun: str, named: str, visible: "QuerySet[Named]") -> Named:
    """Names are unique for each owner only: of several the one that is meant must be said."""
    found = list(visible.filter(name=named).select_related("user").order_by("pk"))
    if not found and named.isdigit():
        found = list(visible.filter(pk=int(named)))
    if not found:
        fail(f"There is no {noun} {named}.")
    if len(found) > 1:
        owners = ", ".join(f"{each.pk} of {each.user.username}" for each in found)
        fail(
            f"There are several of the name {named}: {owners}. "
            f"Say whose it is with --user, or give the id of the {noun}."
        )
    return found[0]
