"""Writes of the identity provider's groups."""

from collections.abc import Mapping

from django.db import transaction

from cpm.kernel import names
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.groups import Group, GroupType
from cpm.models.users import User, UserKind
from cpm.queries import groups
from cpm.queries.errors import one
from cpm.queries.people import Person, Switch
from cpm.services import access, audit, unique
from cpm.services.access import Action
from cpm.services.fields import Field, Fields
from cpm.services.given import Given
from cpm.services.kinds import boolean, choice, integer, reference, text
from cpm.services.users import LIMITS

_COMMON = (Field("name", text(names.name), required=True), Field("enabled", boolean()))
_OWNER = "original_user"

FIELDS: Mapping[GroupType, Fields] = {
    GroupType.USERS: Fields(
        (
            *_COMMON,
            Field("user_type", choice(UserKind.MANAGED, UserKind.INDEPENDENT)),
            Field("allow_file_level_recovery", boolean()),
            *(Field(limit, integer(), nullable=True) for limit in LIMITS),
        )
    ),
    GroupType.DELEGATES: Fields(
        (
            *_COMMON,
            Field(_OWNER, reference(), required=True),
            *(Field(switch, boolean()) for switch in Switch),
        )
    ),
}


@transaction.atomic
def create(group_type: GroupType, data: Mapping[str, object], *, actor: Person) -> Group:
    """Make a group. Raises `Forbidden` and `Invalid`."""
    access.require(actor, Action.CHANGE_SERVER)
    given = FIELDS[group_type].read(data)
    unique.refuse_taken(given, "name", Group.objects.all())
    group = Group(group_type=group_type)
    _apply(given, group, actor)
    with unique.kept_by("cpm_group_name_key", "name"):
        group.save(force_insert=True)
    audit.record(actor, "create group", group.name)
    return group


@transaction.atomic
def update(
    group_type: GroupType, group_id: int, data: Mapping[str, object], *, actor: Person
) -> None:
    """Change what `data` holds. Raises `Forbidden`, `NotFound` and `Invalid`."""
    access.require(actor, Action.CHANGE_SERVER)
    group = _locked(group_type, group_id, actor)
    given = FIELDS[group_type].read(data, partial=True)
    unique.refuse_taken(given, "name", Group.objects.exclude(pk=group_id))
    if group.is_built_in and given.get("name", group.name) != group.name:
        given.refuse("name", "invalid", "A built-in group keeps its name.")
    columns = _apply(given, group, actor)
    with unique.kept_by("cpm_group_name_key", "name"):
        group.save(update_fields=columns)
    audit.record(actor, "update group", group.name, ", ".join(given))


@transaction.atomic
def delete(group_type: GroupType, group_id: int, *, actor: Person) -> None:
    """Forget a group; who came through it stays.

    Raises `Forbidden`, `NotFound`, and `Invalid` for a built-in one.
    """
    access.require(actor, Action.CHANGE_SERVER)
    group = _locked(group_type, group_id, actor)
    if group.is_built_in:
        raise Invalid(Problem("invalid", "A built-in group cannot be deleted."))
    group.delete()
    audit.record(actor, "delete group", group.name)


def ensure_built_ins() -> None:
    """Make the groups that every server has, where they are not there; root is."""
    root = User.objects.get(kind=UserKind.ROOT)
    users = {"group_type": GroupType.USERS, "is_built_in": True}
    delegates = {"group_type": GroupType.DELEGATES, "is_built_in": True, _OWNER: root}
    everything = {str(switch): True for switch in Switch}
    Group.objects.bulk_create(
        [
            Group(name="default_managed_users", **users),
            Group(name="default_independent_users", user_type=UserKind.INDEPENDENT, **users),
            Group(name="default_root_delegates", **delegates, **everything),
            Group(name="default_root_delegates_readonly", **delegates),
        ],
        ignore_conflicts=True,
    )


def _locked(group_type: GroupType, group_id: int, actor: Person) -> Group:
    return one(groups.of_type(actor, group_type).select_for_update(of=("self",)), group_id)


def _apply(given: Given, group: Group, actor: Person) -> list[str]:
    """Put what is given into the row, and tell the columns; raises `Invalid`."""
    if _OWNER in given:
        group.original_user_id = access.choose_owner(given, actor, field=_OWNER)
    given.check()
    columns = dict(given)
    columns.pop(_OWNER, None)
    for column, value in columns.items():
        setattr(group, column, value)
    return [*columns, *([_OWNER] if _OWNER in given else [])]
