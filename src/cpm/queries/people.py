"""Who is asking, and whose objects he therefore sees.

A `Person` is the `viewer` of every query and the `actor` of every service. It is a snapshot of a
row: it may be a few seconds old, and it is never written back.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from django.db.models import Q, QuerySet

from cpm.models.users import User, UserKind
from cpm.queries.errors import NotFound


class Switch(StrEnum):
    """What a delegate may have been allowed, by the API's names."""

    ACCOUNT_CHANGES = "allow_account_changes"
    BACKUP_CHANGES = "allow_backup_changes"
    RECOVERY = "allow_recovery"
    SETTINGS_CHANGES = "allow_settings_changes"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who asks: a user, or a delegate who acts for one.

    `owner_id` is the user whose objects are his: himself, or his original user. `switches` say
    what a delegate may do; a user needs none.
    """

    user_id: int
    name: str
    owner_id: int
    owner_name: str
    owner_kind: UserKind
    is_delegate: bool = False
    switches: frozenset[Switch] = frozenset()
    owner_may_change_accounts: bool = True
    # Where he calls from does not make him another person.
    source_address: str = field(default="", compare=False)

    @property
    def acts_for_root(self) -> bool:
        """Whether he is root or one of root's delegates."""
        return self.owner_kind is UserKind.ROOT


def of(user: User, source_address: str = "") -> Person:
    """The person that a row describes; of a delegate `original_user` is read as well."""
    owner = user.original_user or user
    kind = UserKind(owner.kind)
    return Person(
        user_id=user.pk,
        name=user.username,
        owner_id=owner.pk,
        owner_name=owner.username,
        owner_kind=kind,
        is_delegate=user.original_user is not None,
        switches=frozenset(switch for switch in Switch if getattr(user, switch)),
        owner_may_change_accounts=kind is UserKind.ROOT or owner.allow_account_changes,
        source_address=source_address,
    )


def named(username: str) -> User:
    """The user or delegate of this name, in any case; raises `NotFound`."""
    person = User.objects.select_related("original_user").filter(username__iexact=username).first()
    if person is None:
        raise NotFound(f"There is no user {username}.")
    return person


def operator() -> Person:
    """Whoever works at the server's own command line: he acts as root."""
    return of(User.objects.get(kind=UserKind.ROOT), source_address="command line")


def owned_by(viewer: Person, path: str = "user") -> Q:
    """The condition that `path`, a reference to a user, names one whose objects the viewer sees.

    Root sees his own and managed users'; others see their own.
    """
    if viewer.acts_for_root:
        return Q(**{f"{path}__in": under_root().values("pk")})
    return Q(**{path: viewer.owner_id})


def under_root() -> QuerySet[User]:
    """The users whose objects root sees: himself and those he manages."""
    return User.objects.filter(kind__in=(UserKind.ROOT, UserKind.MANAGED))
