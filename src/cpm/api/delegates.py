"""Delegates on the wire."""

from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase

from cpm.api import answers, pages
from cpm.api.lists import Listing, by_text, number
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import Shape, Shown
from cpm.queries.delegates import visible_to
from cpm.services import delegates
from cpm.services.access import Action
from cpm.services.delegates import FIELDS
from cpm.services.people import RESET_FIELDS


class DelegateProfile(Shown):
    """What a delegate may change; with none of it he only reads."""

    allow_recovery: bool
    allow_account_changes: bool
    allow_backup_changes: bool
    allow_settings_changes: bool


class Delegate(Shown):
    """Somebody who acts for a user."""

    id: int
    original_user: int
    username: str
    email: str
    profile: DelegateProfile


def _build(
    delegate_id: int, original_user: int, username: str, email: str, *switches: Any
) -> Delegate:
    return Delegate(delegate_id, original_user, username, email, DelegateProfile(*switches))


SHAPE = Shape(
    Delegate,
    ("id", "original_user", "username", "email", *DelegateProfile.__struct_fields__),
    _build,
)

LISTING = Listing(
    SHAPE,
    filters={"original_user": number("original_user")},
    search=("username", "email"),
    ordering={"username": by_text("username"), "email": by_text("email")},
)


def index(request: Request) -> HttpResponseBase:
    """List delegates: one's own, and root those of managed users, too."""
    return pages.answer(request, request.rows(visible_to), LISTING)


def create(request: Request) -> HttpResponse:
    """Create a delegate."""
    delegate = delegates.create(request.body(FIELDS), actor=request.person)
    return answers.one(request, request.rows(visible_to), delegate.pk, SHAPE, status=201)


def show(request: Request, delegate_id: int) -> HttpResponse:
    """Retrieve a delegate."""
    return answers.one(request, request.rows(visible_to), delegate_id, SHAPE)


def update(request: Request, delegate_id: int) -> HttpResponse:
    """Update a delegate; what is left out stays as it is."""
    visible = request.rows(visible_to)
    request.must_see(visible, delegate_id)
    data = request.body(FIELDS)
    with answers.unchanged(request, visible, delegate_id, SHAPE):
        delegates.update(delegate_id, data, actor=request.person)
    return answers.one(request, visible, delegate_id, SHAPE)


def delete(request: Request, delegate_id: int) -> HttpResponse:
    """Delete a delegate; what he did stays in the audit trail."""
    with answers.unchanged(request, request.rows(visible_to), delegate_id, SHAPE):
        delegates.delete(delegate_id, actor=request.person)
    return answers.nothing()


def reset_password(request: Request, delegate_id: int) -> HttpResponse:
    """Give a delegate a new password."""
    request.must_see(request.rows(visible_to), delegate_id)
    delegates.reset_password(delegate_id, request.body(RESET_FIELDS), actor=request.person)
    return answers.nothing()


_WRITE = Action.CHANGE_DELEGATES

OPERATIONS = (
    Operation("GET", "/delegates/", index, Action.READ, listing=LISTING),
    Operation("POST", "/delegates/", create, _WRITE, body=FIELDS, answer=Delegate, status=201),
    Operation("GET", "/delegates/{id}/", show, Action.READ, answer=Delegate),
    Operation("PUT", "/delegates/{id}/", update, _WRITE, body=FIELDS, answer=Delegate),
    Operation("DELETE", "/delegates/{id}/", delete, _WRITE, status=204),
    Operation(
        "POST",
        "/delegates/{id}/reset_password/",
        reset_password,
        _WRITE,
        body=RESET_FIELDS,
        status=204,
    ),
)
