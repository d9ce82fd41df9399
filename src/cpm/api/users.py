"""Users on the wire."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from msgspec import UnsetType

from cpm.api import answers, pages
from cpm.api.lists import Listing, by_text, choice, text
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import SINCE_1_1, Shape, Shown
from cpm.models.users import UserType
from cpm.queries.users import visible_to
from cpm.services import users
from cpm.services.access import Action
from cpm.services.people import RESET_FIELDS
from cpm.services.users import CHANGE_FIELDS, FIELDS


class Profile(Shown):
    """What a user may do, and have at most; null is no limit."""

    allow_account_changes: bool
    allow_file_level_recovery: bool
    max_accounts: int | None
    max_instances: int | None
    max_independent_ebs_gib: int | None
    max_rds_gib: int | None
    max_redshift_gib: int | None
    max_dynamodb_gib: Annotated[int | UnsetType | None, SINCE_1_1]


class User(Shown):
    """Somebody who owns objects: root (`R`), an independent (`I`) or a managed user (`M`)."""

    id: int
    username: str
    email: str
    user_type: UserType
    profile: Profile
    last_login: datetime | None
    is_idp_user: bool


def _build(  # the profile's columns stand together
    user_id: int, username: str, email: str, kind: UserType, *rest: Any
) -> User:
    *profile, last_login, is_idp_user = rest
    return User(user_id, username, email, kind, Profile(*profile), last_login, is_idp_user)


SHAPE = Shape(
    User,
    (
        *("id", "username", "email", "kind", *Profile.__struct_fields__),
        *("last_login", "is_idp_user"),
    ),
    _build,
)

LISTING = Listing(
    SHAPE,
    filters={
        "user_type": choice("kind", UserType),
        "username": text("username"),
    },
    search=("username", "email"),
    ordering={
        "username": by_text("username"),
        "email": by_text("email"),
        "user_type": by_text("kind"),
    },
)


def index(request: Request) -> HttpResponseBase:
    """List users; root sees all of them, others themselves."""
    return pages.answer(request, request.rows(visible_to), LISTING)


def create(request: Request) -> HttpResponse:
    """Create a user."""
    user = users.create(request.body(FIELDS), actor=request.person)
    return answers.one(request, request.rows(visible_to), user.pk, SHAPE, status=201)


def show(request: Request, user_id: int) -> HttpResponse:
    """Retrieve a user."""
    return answers.one(request, request.rows(visible_to), user_id, SHAPE)


def update(request: Request, user_id: int) -> HttpResponse:
    """Update a user; what is left out stays as it is."""
    visible = request.rows(visible_to)
    request.must_see(visible, user_id)
    data = request.body(FIELDS)
    with answers.unchanged(request, visible, user_id, SHAPE):
        users.update(user_id, data, actor=request.person)
    return answers.one(request, visible, user_id, SHAPE)


def delete(request: Request, user_id: int) -> HttpResponse:
    """Delete a user with all that is his here; nothing in AWS is touched."""
    with answers.unchanged(request, request.rows(visible_to), user_id, SHAPE):
        users.delete(user_id, actor=request.person)
    return answers.nothing()


def reset_password(request: Request, user_id: int) -> HttpResponse:
    """Give a user a new password."""
    request.must_see(request.rows(visible_to), user_id)
    users.reset_password(user_id, request.body(RESET_FIELDS), actor=request.person)
    return answers.nothing()


def change_own_password(request: Request) -> HttpResponse:
    """Change your own password."""
    users.change_own_password(request.body(CHANGE_FIELDS), actor=request.person)
    return answers.nothing()


_WRITE = Action.CHANGE_USERS

OPERATIONS = (
    Operation("GET", "/users/", index, Action.READ, listing=LISTING),
    Operation("POST", "/users/", create, _WRITE, body=FIELDS, answer=User, status=201),
    Operation("GET", "/users/{id}/", show, Action.READ, answer=User),
    Operation("PUT", "/users/{id}/", update, _WRITE, body=FIELDS, answer=User),
    Operation("DELETE", "/users/{id}/", delete, _WRITE, status=204),
    Operation(
        "POST", "/users/{id}/reset_password/", reset_password, _WRITE, body=RESET_FIELDS, status=204
    ),
    Operation(
        "POST",
        "/users/me/change_password/",
        change_own_password,
        Action.CHANGE_OWN_LOGIN,
        body=CHANGE_FIELDS,
        status=204,
    ),
)
