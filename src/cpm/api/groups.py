"""The identity provider's groups on the wire."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from msgspec import UNSET, UnsetType

from cpm.api import answers, pages
from cpm.api.bound import bound
from cpm.api.lists import Listing, boolean, by_text, text
from cpm.api.operations import Operation, View
from cpm.api.request import Request
from cpm.api.shapes import Shape, Shown
from cpm.models.groups import GroupType
from cpm.models.users import UserType
from cpm.queries import groups as queries
from cpm.services import groups
from cpm.services.access import Action
from cpm.services.groups import FIELDS


class Group(Shown):
    """What members of a group of the identity provider are here: users, or delegates."""

    id: int
    name: str
    enabled: bool
    group_type: GroupType | UnsetType
    user_type: UserType | UnsetType
    allow_file_level_recovery: bool | UnsetType
    max_accounts: int | UnsetType | None
    max_instances: int | UnsetType | None
    max_independent_ebs_gib: int | UnsetType | None
    max_rds_gib: int | UnsetType | None
    max_redshift_gib: int | UnsetType | None
    max_dynamodb_gib: int | UnsetType | None
    original_user: int | UnsetType
    allow_recovery: bool | UnsetType
    allow_account_changes: bool | UnsetType
    allow_backup_changes: bool | UnsetType
    allow_settings_changes: bool | UnsetType


def _keys(group_type: GroupType) -> frozenset[str]:
    return frozenset(field.name for field in FIELDS[group_type])


_INAPPLICABLE = {
    GroupType.USERS: sorted(_keys(GroupType.DELEGATES) - _keys(GroupType.USERS)),
    GroupType.DELEGATES: sorted(_keys(GroupType.USERS) - _keys(GroupType.DELEGATES)),
}


def _build(*row: Any, names_type: bool) -> Group:
    group = Group(*row)
    for key in _INAPPLICABLE[GroupType(row[3])]:
        setattr(group, key, UNSET)
    if not names_type:
        group.group_type = UNSET
    return group


def _listing(*, names_type: bool) -> Listing[Group]:
    build = partial(_build, names_type=names_type)
    return Listing(
        Shape(Group, Group.__struct_fields__, build),
        filters={"enabled": boolean("enabled"), "name": text("name")},
        search=("name",),
        ordering={"name": by_text("name")},
    )


ALL, ONE_TYPE = _listing(names_type=True), _listing(names_type=False)
SHAPE = ONE_TYPE.shape


def index_all(request: Request) -> HttpResponseBase:
    """List groups of both types."""
    return pages.answer(request, request.rows(queries.visible_to), ALL)


def index(request: Request, *, group_type: GroupType) -> HttpResponseBase:
    """List the groups of one type."""
    return pages.answer(request, request.rows(queries.of_type, group_type), ONE_TYPE)


def create(request: Request, *, group_type: GroupType) -> HttpResponse:
    """Create a group."""
    body = request.body(FIELDS[group_type])
    group = groups.create(group_type, body, actor=request.person)
    rows = request.rows(queries.of_type, group_type)
    return answers.one(request, rows, group.pk, SHAPE, status=201)


def show(request: Request, group_id: int, *, group_type: GroupType) -> HttpResponse:
    """Retrieve a group."""
    return answers.one(request, request.rows(queries.of_type, group_type), group_id, SHAPE)


def update(request: Request, group_id: int, *, group_type: GroupType) -> HttpResponse:
    """Update a group; what is left out stays as it is."""
    rows = request.rows(queries.of_type, group_type)
    request.must_see(rows, group_id)
    data = request.body(FIELDS[group_type])
    with answers.unchanged(request, rows, group_id, SHAPE):
        groups.update(group_type, group_id, data, actor=request.person)
    return answers.one(request, rows, group_id, SHAPE)


def delete(request: Request, group_id: int, *, group_type: GroupType) -> HttpResponse:
    """Delete a group; who came through it stays."""
    rows = request.rows(queries.of_type, group_type)
    with answers.unchanged(request, rows, group_id, SHAPE):
        groups.delete(group_type, group_id, actor=request.person)
    return answers.nothing()


_READ, _WRITE = Action.READ_SERVER, Action.CHANGE_SERVER
_BASE = "/settings/identity_provider/groups/"


def operations() -> Iterator[Operation]:
    """The operations on groups of both types."""
    yield Operation("GET", _BASE, index_all, _READ, listing=ALL)
    for group_type in GroupType:
        yield from _of_type(group_type)


def _of_type(group_type: GroupType) -> Iterator[Operation]:
    many = f"{_BASE}{group_type}s/"
    one = f"{many}{{id}}/"
    written: Any = {"body": FIELDS[group_type], "answer": Group}

    def view(function: View) -> View:
        return bound(function, group_type=group_type)

    yield Operation("GET", many, view(index), _READ, listing=ONE_TYPE)
    yield Operation("POST", many, view(create), _WRITE, status=201, **written)
    yield Operation("GET", one, view(show), _READ, answer=Group)
    yield Operation("PUT", one, view(update), _WRITE, **written)
    yield Operation("DELETE", one, view(delete), _WRITE, status=204)
