"""Writes of delegates: people who act for a user, within four switches."""

from collections.abc import Mapping

from django.db import transaction

from cpm.kernel import clock, names
from cpm.models.users import User, UserKind
from cpm.queries import delegates
from cpm.queries.errors import one
from cpm.queries.people import Person, Switch
from cpm.services import access, audit, passwords, people, unique
from cpm.services.access import Action
from cpm.services.fields import Field, Fields
from cpm.services.given import Given
from cpm.services.kinds import boolean, email, nested, password, reference, text

_SWITCHES = nested(*(Field(switch, boolean()) for switch in Switch))

FIELDS = Fields(
    (
        Field("original_user", reference(), required=True, fixed=True),
        Field("username", text(names.username), required=True, fixed=True),
        Field("email", email()),
        Field("password", password(), required=True),
        Field("profile", _SWITCHES),
    )
)


@transaction.atomic
def create(data: Mapping[str, object], *, actor: Person) -> User:
    """Make a delegate of the actor's own user, or of one whom root manages.

    Raises `Forbidden` and `Invalid`.
    """
    access.require(actor, Action.CHANGE_DELEGATES)
    given = FIELDS.read(data)
    owner_id = access.choose_owner(given, actor, field="original_user")
    unique.refuse_taken(given, "username", User.objects.all(), lookup="iexact")
    delegate = User(
        kind=UserKind.DELEGATE,
        original_user_id=owner_id,
        created_at=clock.now(),
        # That of a user, who has it unless it is taken away.
        allow_account_changes=False,
    )
    _apply(given, delegate)
    with unique.kept_by("user_name_unique", "username"):
        delegate.save(force_insert=True)
    audit.record(actor, "create delegate", delegate.username)
    return delegate


@transaction.atomic
def update(delegate_id: int, data: Mapping[str, object], *, actor: Person) -> None:
    """Change what `data` holds. Raises `Forbidden`, `NotFound` and `Invalid`."""
    access.require(actor, Action.CHANGE_DELEGATES)
    delegate = _locked(delegate_id, actor)
    people.refuse_provided(delegate)
    given = FIELDS.read(data, partial=True)
    delegate.save(update_fields=_apply(given, delegate))
    audit.record(actor, "update delegate", delegate.username, ", ".join(given))


@transaction.atomic
def delete(delegate_id: int, *, actor: Person) -> None:
    """Forget a delegate, with his key and his tokens. Raises `Forbidden` and `NotFound`."""
    access.require(actor, Action.CHANGE_DELEGATES)
    delegate = _locked(delegate_id, actor)
    name = delegate.username
    delegate.delete()
    audit.record(actor, "delete delegate", name)


@transaction.atomic
def reset_password(delegate_id: int, data: Mapping[str, object], *, actor: Person) -> None:
    """Give a delegate a new password. Raises `Forbidden`, `NotFound` and `Invalid`."""
    access.require(actor, Action.CHANGE_DELEGATES)
    delegate = _locked(delegate_id, actor)
    people.reset_password(delegate, data)
    audit.record(actor, "reset password", delegate.username)


def _locked(delegate_id: int, actor: Person) -> User:
    return one(delegates.visible_to(actor).select_for_update(of=("self",)), delegate_id)


def _apply(given: Given, delegate: User) -> list[str]:
    """Put what is given into the row, and tell the columns; raises `Invalid`."""
    columns = {**given, **given.get("profile", {})}
    for name in ("profile", "password", "original_user"):
        columns.pop(name, None)
    for column, value in columns.items():
        setattr(delegate, column, value)
    # Last, because it must not be like the name.
    passwords.put(given, "password", delegate)
    given.check()
    return [*columns, *(["password"] if "password" in given else [])]
