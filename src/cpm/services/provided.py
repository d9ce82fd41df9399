"""People who come through the identity provider: made and kept up to date at each log-in.

A group says what they are here, a claim may override it. What they were made stays: neither does a
user become a delegate, nor anybody the one who has his name here already, least of all root.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from cpm.kernel import clock, names
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.groups import Group, GroupType
from cpm.models.users import User, UserKind
from cpm.queries import people
from cpm.queries.people import Switch
from cpm.services import audit, unique, users
from cpm.services.assertions import Vouched
from cpm.services.errors import Unlicensed
from cpm.services.fields import Field, Fields, Kind
from cpm.services.kinds import boolean, email, integer, text
from cpm.services.users import LIMITS

GROUPS_CLAIM = "cpm_user_groups"
PERMISSIONS_CLAIM = "cpm_user_permissions"
_PREFIX = "cpm_"
_TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"

# The claim's words for a delegate's switches.
_SWITCHES = {
    "allow_recovery_changes": Switch.RECOVERY,
    "allow_account_changes": Switch.ACCOUNT_CHANGES,
    "allow_backup_changes": Switch.BACKUP_CHANGES,
    "allow_settings": Switch.SETTINGS_CHANGES,
}
_KINDS = {
    "m": UserKind.MANAGED,
    "managed": UserKind.MANAGED,
    "i": UserKind.INDEPENDENT,
    "independent": UserKind.INDEPENDENT,
    "d": UserKind.DELEGATE,
    "delegate": UserKind.DELEGATE,
}


class ClaimsRefused(Exception):
    """Somebody whom the provider knows cannot be let in; the message, for him, says why."""


def _user_kind() -> Kind:
    def read(value: str) -> UserKind:
        kind = _KINDS.get(value.lower())
        if kind is None:
            raise Invalid(Problem("invalid_choice", f'"{value}" is not a valid choice.'))
        return kind

    return Kind(read, {"type": "string"})


_PERMISSIONS = Fields(
    (
        Field("user_type", _user_kind()),
        Field("user_name", text(names.username)),
        Field("user_email", email()),
        Field("allow_file_level_recovery", boolean()),
        *(Field(limit, integer(), nullable=True) for limit in LIMITS),
        Field("original_username", text(names.username)),
        *(Field(switch, boolean()) for switch in _SWITCHES),
    )
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What somebody is to be here: what he was made, and what may change."""

    username: str
    kind: UserKind
    original_user: User | None
    columns: Mapping[str, Any]


@transaction.atomic
def admit(vouched: Vouched) -> User:
    """The user or delegate for whom the provider vouches, as he is to be from now on.

    Raises `ClaimsRefused`.
    """
    wanted = _wanted(vouched)
    found = User.objects.filter(username__iexact=wanted.username)
    person = found.select_for_update(of=("self",)).select_related("original_user").first()
    return _made(wanted) if person is None else _kept(person, wanted)


def _made(wanted: _Wanted) -> User:
    try:
        if wanted.kind is not UserKind.DELEGATE:
            users.check_licence()
        person = User(
            username=wanted.username,
            kind=wanted.kind,
            original_user=wanted.original_user,
            is_idp_user=True,
            created_at=clock.now(),
            **wanted.columns,
        )
        person.set_unusable_password()
        with unique.kept_by("user_name_unique", "username"):
            person.save(force_insert=True)
    except Unlicensed as refused:
        raise ClaimsRefused(f"{refused.message} Ask your administrator.") from None
    except Invalid:
        raise ClaimsRefused("You were logging in elsewhere at the same time. Try again.") from None
    noun = "delegate" if wanted.original_user else "user"
    audit.record(None, f"create {noun}", person.username, "by the identity provider")
    return person


def _kept(person: User, wanted: _Wanted) -> User:
    if not person.is_idp_user:
        raise ClaimsRefused(
            f'Your name, "{wanted.username}", belongs to somebody who logs in with a password.'
        )
    if (person.kind, person.original_user) != (wanted.kind, wanted.original_user):
        raise ClaimsRefused(
            f"You are {_said(UserKind(person.kind), person.original_user)} here, and your claims"
            f" make you {_said(wanted.kind, wanted.original_user)}. An administrator has to delete"
            f' "{person.username}" first.'
        )
    changed = {
        column: value
        for column, value in wanted.columns.items()
        if getattr(person, column) != value
    }
    if changed:
        for column, value in changed.items():
            setattr(person, column, value)
        person.save(update_fields=list(changed))
        noun = "delegate" if person.original_user else "user"
        audit.record(None, f"update {noun}", person.username, ", ".join(changed))
    return person


def _wanted(vouched: Vouched) -> _Wanted:
    group = _group(vouched.claims.get(GROUPS_CLAIM, ()))
    claimed = _permissions(vouched.claims.get(PERMISSIONS_CLAIM, ()))
    username = _username(vouched, claimed)
    columns = _email(vouched, claimed)
    if group.group_type == GroupType.USERS:
        kind = claimed.get("user_type", UserKind(group.user_type))
        if kind is UserKind.DELEGATE:
            raise ClaimsRefused(f'The group "{group.name}" makes users, not delegates.')
        for column in ("allow_file_level_recovery", *LIMITS):
            columns[column] = claimed.get(column, getattr(group, column))
        return _Wanted(username, kind, None, columns)
    if claimed.get("user_type", UserKind.DELEGATE) is not UserKind.DELEGATE:
        raise ClaimsRefused(f'The group "{group.name}" makes delegates, not users.')
    for word, switch in _SWITCHES.items():
        columns[switch] = claimed.get(word, getattr(group, switch))
    return _Wanted(username, UserKind.DELEGATE, _original_user(group, claimed), columns)


def _group(values: Iterable[str]) -> Group:
    """The one group of ours among those that somebody is in."""
    said = {value.strip() for value in values}
    candidates = said | {value.removeprefix(_PREFIX) for value in said}
    ours = {group.name: group for group in Group.objects.filter(name__in=candidates)}
    matches = (ours.get(value) or ours.get(value.removeprefix(_PREFIX)) for value in said)
    found = {group.name: group for group in matches if group is not None}
    if len(found) != 1:
        how_many = f"several of our groups: {', '.join(sorted(found))}" if found else "none"
        raise ClaimsRefused(
            f"You have to be in exactly one group of this server ({GROUPS_CLAIM}), and you are in"
            f" {how_many}. Ask your administrator."
        )
    (group,) = found.values()
    if not group.enabled:
        raise ClaimsRefused(f'Your group, "{group.name}", is disabled. Ask your administrator.')
    return group


def _permissions(values: Iterable[str]) -> Mapping[str, Any]:
    """What the claim overrides, by its words."""
    said: dict[str, str | None] = {}
    known = {field.name for field in _PERMISSIONS}
    for item in "\n".join(values).replace(";", "\n").splitlines():
        key, _, value = (part.strip() for part in item.partition("="))
        if not key:
            continue
        if key not in known or said.get(key, value) != value:
            what = "is unknown" if key not in known else "is given twice"
            raise ClaimsRefused(f'"{key[:100]}" in your {PERMISSIONS_CLAIM} {what}.')
        said[key] = value
    for limit in LIMITS:
        if said.get(limit) == "":
            said[limit] = None
    try:
        given = _PERMISSIONS.read(said, partial=True)
        given.check()
    except Invalid as invalid:
        raise ClaimsRefused(f"Your {PERMISSIONS_CLAIM} cannot be used. {invalid}") from None
    return given


def _username(vouched: Vouched, claimed: Mapping[str, Any]) -> str:
    if "user_name" in claimed:
        return str(claimed["user_name"])
    advice = f"The identity provider has to send user_name in {PERMISSIONS_CLAIM}."
    if vouched.subject.name_format == _TRANSIENT:
        raise ClaimsRefused(f"You come with another name each time. {advice}")
    try:
        return names.username(vouched.subject.name)
    except Invalid:
        raise ClaimsRefused(f"Your name there cannot be a user name here. {advice}") from None


def _email(vouched: Vouched, claimed: Mapping[str, Any]) -> dict[str, Any]:
    """The column of the address, where there is one: often it is the name."""
    if "user_email" in claimed:
        return {"email": claimed["user_email"]}
    try:
        return {"email": email().read(vouched.subject.name)}
    except Invalid:
        return {}


def _original_user(group: Group, claimed: Mapping[str, Any]) -> User:
    """Whom a delegate acts for: never somebody whose objects are hidden from root."""
    named = claimed.get("original_username")
    if named is None:
        original = group.original_user
    else:
        original = people.under_root().filter(username__iexact=named).first()
    if original is None or not original.is_active:
        whom = f' "{named}"' if named else ""
        raise ClaimsRefused(f"The user{whom} for whom you would act is not there.")
    return original


def _said(kind: UserKind, original: User | None) -> str:
    if original is not None:
        return f'a delegate of "{original.username}"'
    return f"{'an' if kind is UserKind.INDEPENDENT else 'a'} {kind.label.lower()} user"
