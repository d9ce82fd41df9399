"""Who may do what: the one place that decides.

Which objects somebody sees is not decided here but in the queries; what is his to see is his to
change, as far as his kind and his switches go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cpm.models.users import UserKind
from cpm.queries import people
from cpm.queries.people import Person, Switch
from cpm.services.errors import Forbidden
from cpm.services.given import Given


class Action(StrEnum):
    """What people do, as coarse as the rules about it."""

    READ = "read"
    CHANGE_OWN_LOGIN = "change own password and API key"
    CHANGE_ACCOUNTS = "create and update accounts"
    USE_INSTANCE_ROLE = "let an account use the server's own role"
    DELETE_ACCOUNTS = "delete accounts and their snapshots"
    CHANGE_BACKUPS = "write policies and what belongs to them, run, freeze and delete backups"
    RECOVER = "recover, and delete records of recoveries"
    CHANGE_DELEGATES = "write delegates"
    CHANGE_NOTIFICATIONS = "write channels of notifications and the daily summary"
    CHANGE_USERS = "write users"
    READ_SERVER = "read settings and licence"
    READ_SUPPORT_LOGS = "read support logs"
    CHANGE_SERVER = "write settings and licence"


@dataclass(frozen=True, slots=True)
class Rule:
    """What an action asks for.

    `switches` are what a delegate needs. `root_only` keeps it to root and his delegates. With
    `owner_must_allow` the owner of the accounts needs his own permission to change them.
    """

    switches: frozenset[Switch] = frozenset()
    root_only: bool = False
    owner_must_allow: bool = False


_ACCOUNTS = frozenset({Switch.BACKUP_CHANGES, Switch.ACCOUNT_CHANGES})
_SETTINGS = frozenset({Switch.SETTINGS_CHANGES})

RULES: Mapping[Action, Rule] = {
    Action.READ: Rule(),
    Action.CHANGE_OWN_LOGIN: Rule(),
    Action.CHANGE_ACCOUNTS: Rule(_ACCOUNTS, owner_must_allow=True),
    Action.USE_INSTANCE_ROLE: Rule(_ACCOUNTS, root_only=True),
    Action.DELETE_ACCOUNTS: Rule(_ACCOUNTS),
    Action.CHANGE_BACKUPS: Rule(frozenset({Switch.BACKUP_CHANGES})),
    Action.RECOVER: Rule(frozenset({Switch.RECOVERY})),
    Action.CHANGE_DELEGATES: Rule(_SETTINGS),
    Action.CHANGE_NOTIFICATIONS: Rule(_SETTINGS),
    Action.CHANGE_USERS: Rule(_SETTINGS, root_only=True),
    Action.READ_SERVER: Rule(root_only=True),
    Action.READ_SUPPORT_LOGS: Rule(_SETTINGS, root_only=True),
    Action.CHANGE_SERVER: Rule(_SETTINGS, root_only=True),
}


def may_ever(person: Person, action: Action) -> bool:
    """Whether this person may do this to anything at all."""
    rule = RULES[action]
    if rule.root_only and not person.acts_for_root:
        return False
    if rule.owner_must_allow and not person.owner_may_change_accounts:
        return False
    return not person.is_delegate or rule.switches <= person.switches


def require(person: Person, action: Action) -> None:
    """Raise `Forbidden` unless this person may do this to the objects that he sees."""
    if not may_ever(person, action):
        raise Forbidden


def choose_owner(given: Given, actor: Person, *, field: str = "user") -> int:
    """The id of the user to whom a new object shall belong: the actor's own, or the named one.

    Only root and his delegates may name another, and only one whom root manages; anybody else is
    noted as a problem of `field`.
    """
    named = given.get(field)
    if named is None or named == actor.owner_id:
        return actor.owner_id
    if actor.acts_for_root and people.under_root().filter(pk=named, kind=UserKind.MANAGED).exists():
        return int(named)
    given.refuse(field, "does_not_exist", f'Invalid pk "{named}" - object does not exist.')
    return actor.owner_id
