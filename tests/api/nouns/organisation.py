"""Everybody that there can be, and an object of each kind of a managed and an independent user."""

from dataclasses import dataclass
from typing import Any

from cpm.api.routes import OPERATIONS
from cpm.models.users import UserKind
from cpm.services import groups
from tests.api.cast import Caller, caller, make_user
from tests.api.matrix import ACCOUNT, BACKUP, MATRIX, SWITCHES
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.endpoints import Endpoint
from tests.api.nouns.estate import Estate, create
from tests.api.nouns.everything import found_by_listing, make_one_of_each

# The id of nothing.
NOWHERE = 999_999_999

COMBINATIONS: list[frozenset[str]] = [
    frozenset(),
    *(frozenset({switch}) for switch in SWITCHES),
    frozenset({ACCOUNT, BACKUP}),
    frozenset(SWITCHES),
]


@dataclass
class Member:
    """Somebody, and what the matrix knows him by; `switches` are None for all but delegates."""

    caller: Caller
    kind: str
    sees: frozenset[str]
    switches: frozenset[str] | None = None

    @property
    def name(self) -> str:
        assert self.caller.user is not None
        return self.caller.user.username

    def may(self, one: Endpoint) -> bool:
        """Whether he may ever do this."""
        return MATRIX[one.permission].admits(self.kind, self.switches)


@dataclass
class Organisation:
    """All members by name, and of each owner of objects the ids of one of each kind."""

    members: dict[str, Member]
    estates: dict[str, Estate]
    ids: dict[str, dict[str, int]]

    def caller(self, name: str) -> Caller:
        """Somebody's client."""
        return self.members[name].caller

    @classmethod
    def found(cls, mias: Cloud, iness: Cloud) -> "Organisation":
        """Make all of it over the API; both owners have an account of AWS of their own."""
        members = {member.name: member for member in _members()}
        groups.ensure_built_ins()
        clouds = {"mia": mias, "ines": iness}
        estates = {name: Estate.of(members[name].caller, clouds[name]) for name in clouds}
        root = members["root"].caller
        ids = {name: _ids(estate, root) for name, estate in estates.items()}
        return cls(members, estates, ids)


def _members() -> list[Member]:
    users = {
        "root": (UserKind.ROOT, {"root", "mia"}),
        "mia": (UserKind.MANAGED, {"mia"}),
        "ines": (UserKind.INDEPENDENT, {"ines"}),
        "stan": (UserKind.MANAGED, {"stan"}),
    }
    made = [
        Member(caller(make_user(name, kind)), kind.value, frozenset(sees))
        for name, (kind, sees) in users.items()
    ]
    delegates = [
        _delegate(each, switches)
        for each in made
        for switches in (COMBINATIONS if each.name in {"root", "mia"} else COMBINATIONS[::6])
    ]
    return made + delegates


def _delegate(original: Member, switches: frozenset[str]) -> Member:
    # A column's default is for users; a delegate has what he was given.
    columns: dict[str, Any] = {switch: switch in switches for switch in SWITCHES}
    name = "+".join([original.name, *sorted(switches)] if switches else [original.name, "nothing"])
    person = make_user(name, UserKind.DELEGATE, original_user=original.caller.user, **columns)
    return Member(caller(person), original.kind, original.sees, switches)


def _ids(estate: Estate, root: Caller) -> dict[str, int]:
    owner = estate.caller
    create(owner, "/schedules/", {"name": "s", "every_unit": "D", "every_how_many": 1})
    ids = make_one_of_each(estate)
    of_the_server = [each for each in OPERATIONS if each.path.startswith("/settings/")]
    own = [each for each in OPERATIONS if each not in of_the_server]
    return found_by_listing(root, of_the_server, found_by_listing(owner, own, ids))
