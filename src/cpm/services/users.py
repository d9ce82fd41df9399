"""Writes of users, and of everybody's own password."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from django.db import transaction
from django.db.models import CharField, Q, Value
from django.db.models.functions import Cast, Concat

from cpm.engine import removal
from cpm.engine.settings import Licence
from cpm.kernel import clock, names
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.users import ApiKey, User, UserKind
from cpm.queries import users
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.services import access, audit, passwords, people, unique
from cpm.services.access import Action
from cpm.services.errors import Conflict, Unlicensed
from cpm.services.fields import Field, Fields
from cpm.services.given import Given
from cpm.services.kinds import boolean, choice, email, integer, nested, password, text
from cpm.services.people import RESET_FIELDS

LIMITS = (
    "max_accounts",
    "max_instances",
    "max_independent_ebs_gib",
    "max_rds_gib",
    "max_redshift_gib",
    "max_dynamodb_gib",
)

FIELDS = Fields(
    (
        Field("username", text(names.username), required=True, fixed=True),
        Field("email", email()),
        Field("password", password(), required=True),
        Field("user_type", choice(UserKind.MANAGED, UserKind.INDEPENDENT), fixed=True),
        Field(
            "profile",
            nested(
                Field("allow_account_changes", boolean()),
                Field("allow_file_level_recovery", boolean()),
                *(Field(limit, integer(), nullable=True) for limit in LIMITS),
            ),
        ),
    )
)
CHANGE_FIELDS = Fields((Field("old_password", password(), required=True), *RESET_FIELDS))


@transaction.atomic
def create(data: Mapping[str, object], *, actor: Person) -> User:
    """Make a user. Raises `Forbidden`, `Unlicensed` and `Invalid`."""
    access.require(actor, Action.CHANGE_USERS)
    check_licence()
    given = FIELDS.read(data)
    unique.refuse_taken(given, "username", User.objects.all(), lookup="iexact")
    user = User(kind=UserKind.MANAGED, created_at=clock.now())
    _apply(given, user)
    with unique.kept_by("user_name_unique", "username"):
        user.save(force_insert=True)
    audit.record(actor, "create user", user.username)
    return user


@transaction.atomic
def update(user_id: int, data: Mapping[str, object], *, actor: Person) -> None:
    """Change what `data` holds. Raises `Forbidden`, `NotFound` and `Invalid`."""
    access.require(actor, Action.CHANGE_USERS)
    user = _locked(user_id, actor)
    people.refuse_provided(user)
    given = FIELDS.read(data, partial=True)
    user.save(update_fields=_apply(given, user))
    audit.record(actor, "update user", user.username, ", ".join(given))


@transaction.atomic
def delete(user_id: int, *, actor: Person) -> None:
    """Forget a user with all that is his in here; what is in AWS and in buckets stays.

    Nobody sees any of it from now on, and nothing runs for him. The rows, which may be millions, go
    in the background. Raises `Forbidden`, `NotFound`, `Invalid` for root, and `Conflict` while he
    has work under way.
    """
    access.require(actor, Action.CHANGE_USERS)
    user = _locked(user_id, actor)
    if user.kind == UserKind.ROOT:
        raise Invalid(Problem("invalid", "The root user cannot be deleted."))
    if users.has_work_in_progress(user):
        raise Conflict("Work of this user is in progress.")
    audit.record(actor, "delete user", user.username)
    _shut_out(user)
    removal.begin(user)


@transaction.atomic
def reset_password(user_id: int, data: Mapping[str, object], *, actor: Person) -> None:
    """Give a user a new password. Raises `Forbidden`, `NotFound` and `Invalid`."""
    access.require(actor, Action.CHANGE_USERS)
    user = _locked(user_id, actor)
    people.reset_password(user, data)
    audit.record(actor, "reset password", user.username)


@transaction.atomic
def change_own_password(data: Mapping[str, object], *, actor: Person) -> None:
    """Give the actor himself, who knows his old password, a new one. Raises `Invalid`."""
    access.require(actor, Action.CHANGE_OWN_LOGIN)
    user = User.objects.select_for_update().get(pk=actor.user_id)
    people.refuse_provided(user)
    given = CHANGE_FIELDS.read(data)
    if "old_password" in given and not user.check_password(given["old_password"]):
        given.refuse("old_password", "invalid", "The old password is wrong.")
    passwords.put(given, "new_password", user)
    given.check()
    user.save(update_fields=["password"])
    audit.record(actor, "change own password", user.username)


def check_licence() -> None:
    """Raise `Unlicensed` unless there may be one more user; others who add one wait."""
    allowed = Licence.locked().max_users
    uncounted = (UserKind.ROOT, UserKind.DELEGATE, UserKind.GONE)
    counted = User.objects.exclude(kind__in=uncounted)
    if allowed is not None and counted.count() >= allowed:
        raise Unlicensed(f"The licence allows {allowed} users (max_users).")


@transaction.atomic
def ensure_root(root_password: str, password_file: Path) -> None:
    """Make the root user if there is none, with a password of our own making if none is given.

    That one stands in `password_file`, for whoever may read the data directory.
    """
    if User.objects.filter(kind=UserKind.ROOT).exists():
        return
    user = User(username="root", kind=UserKind.ROOT, created_at=clock.now())
    user.set_password(root_password or _made_up(password_file))
    user.save(force_insert=True)
    audit.record(None, "create user", user.username)


def _made_up(password_file: Path) -> str:
    """A password kept in a file; that of an earlier start which did not get to its end."""
    password_file.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    try:
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return password_file.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        made_up = secrets.token_urlsafe(15)
        file.write(f"{made_up}\n")
    return made_up


def _shut_out(user: User) -> None:
    """Let nobody log in as the user or come to act for him, and free all their names.

    No name begins with `#`.
    """
    people = User.objects.filter(Q(pk=user.pk) | Q(original_user=user))
    ApiKey.objects.filter(user__in=people).delete()
    user.delegate_groups.all().delete()
    name = Concat(Value("#"), Cast("pk", CharField()))
    people.update(is_active=False, email="", username=name)


def _locked(user_id: int, actor: Person) -> User:
    return one(users.visible_to(actor).select_for_update(), user_id)


def _apply(given: Given, user: User) -> list[str]:
    """Put what is given into the row, and tell the columns; raises `Invalid`."""
    columns = {**given, **given.get("profile", {})}
    columns.pop("profile", None)
    columns.pop("password", None)
    if "user_type" in columns:
        columns["kind"] = columns.pop("user_type")
    for column, value in columns.items():
        setattr(user, column, value)
    # Last, because it must not be like the name.
    passwords.put(given, "password", user)
    given.check()
    return [*columns, *(["password"] if "password" in given else [])]
