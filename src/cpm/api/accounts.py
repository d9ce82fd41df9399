"""Accounts on the wire: those of both kinds together, and each kind under an address of its own."""

from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from msgspec import UNSET, UnsetType

from cpm.api import answers, deletions, pages
from cpm.api.bound import bound
from cpm.api.flags import VALIDATE, flag
from cpm.api.lists import Listing, by_column, by_text, number, text
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import Shape, Shown
from cpm.models.accounts import Authentication
from cpm.queries.accounts import of_kind, visible_to
from cpm.services import accounts
from cpm.services import deletions as services
from cpm.services.access import Action
from cpm.services.accounts import BACKUP_FIELDS, DR_FIELDS
from cpm.services.fields import Fields


class Account(Shown):
    """How the server gets into an AWS account: what is shown depends on kind and authentication."""

    id: int
    user: int
    name: str
    authentication: Authentication
    is_dr_account: bool
    aws_access_key: str | UnsetType = UNSET
    account_number: str | UnsetType = UNSET
    role_name: str | UnsetType = UNSET
    external_id: str | UnsetType | None = UNSET
    assume_from_account: int | UnsetType | None = UNSET
    scan_tagged_resources: bool | UnsetType = UNSET
    scan_regions: list[int] | UnsetType = UNSET
    capture_vpcs: bool | UnsetType = UNSET
    allow_deleting_snapshots: bool | UnsetType = UNSET


_OF_ALL = ("id", "user", "name", "authentication", "is_dr_account")
_OF_IAM_USERS = ("aws_access_key",)
_OF_ROLES = ("account_number", "role_name", "external_id", "assume_from_account")
_OF_BACKUP = ("scan_tagged_resources", "scan_regions", "capture_vpcs")
_OF_DR = ("allow_deleting_snapshots",)


def _build(*row: Any) -> Account:
    account = Account(*row)
    for key in _inapplicable(account):
        setattr(account, key, UNSET)
    return account


def _inapplicable(account: Account) -> tuple[str, ...]:
    return (
        *(() if account.authentication == Authentication.IAM_USER else _OF_IAM_USERS),
        *(() if account.authentication == Authentication.ASSUME_ROLE else _OF_ROLES),
        *(_OF_BACKUP if account.is_dr_account else _OF_DR),
    )


SHAPE = Shape(Account, (*_OF_ALL, *_OF_IAM_USERS, *_OF_ROLES, *_OF_BACKUP, *_OF_DR), _build)

LISTING = Listing(
    SHAPE,
    filters={"name": text("name"), "user": number("user")},
    search=("name", "aws_access_key"),
    ordering={
        "authentication": by_text("authentication"),
        "name": by_text("name"),
        "user": by_column("user_id"),
    },
)


def index(request: Request) -> HttpResponseBase:
    """List accounts of both kinds."""
    return pages.answer(request, request.rows(visible_to), LISTING)


def index_of_kind(request: Request, *, is_dr: bool) -> HttpResponseBase:
    """List accounts of one kind."""
    return pages.answer(request, request.rows(of_kind, is_dr=is_dr), LISTING)


def create(request: Request, *, is_dr: bool) -> HttpResponse:
    """Create an account; AWS is asked whether the credentials are good."""
    account = accounts.create(
        request.body(_fields(is_dr)),
        is_dr=is_dr,
        actor=request.person,
        validate=flag(request, "validate", default=True),
    )
    return answers.one(request, request.rows(visible_to), account.pk, SHAPE, status=201)


def show(request: Request, account_id: int, *, is_dr: bool) -> HttpResponse:
    """Retrieve an account."""
    return answers.one(request, request.rows(of_kind, is_dr=is_dr), account_id, SHAPE)


def update(request: Request, account_id: int, *, is_dr: bool) -> HttpResponse:
    """Update an account; what is left out stays as it is, secrets included."""
    visible = request.rows(of_kind, is_dr=is_dr)
    request.must_see(visible, account_id)
    data = request.body(_fields(is_dr))
    validate = flag(request, "validate", default=True)
    with answers.unchanged(request, visible, account_id, SHAPE):
        accounts.update(account_id, data, is_dr=is_dr, actor=request.person, validate=validate)
    return answers.one(request, visible, account_id, SHAPE)


def delete(request: Request, account_id: int, *, is_dr: bool) -> HttpResponse:
    """Delete an account from the server; nothing is deleted in AWS."""
    with answers.unchanged(request, request.rows(of_kind, is_dr=is_dr), account_id, SHAPE):
        accounts.delete(account_id, is_dr=is_dr, actor=request.person)
    return answers.nothing()


def delete_snapshots(request: Request, account_id: int, *, is_dr: bool) -> HttpResponse:
    """Delete every snapshot of an account in the background, but for those of frozen backups."""
    dry_run, with_s3 = deletions.is_dry_run(request), deletions.includes_s3(request)
    choices = services.of_account(
        account_id, is_dr=is_dr, actor=request.person, dry_run=dry_run, with_s3=with_s3
    )
    return deletions.answer(choices, dry_run=dry_run)


def _fields(is_dr: bool) -> Fields:
    return DR_FIELDS if is_dr else BACKUP_FIELDS


def _operations(path: str, *, is_dr: bool) -> tuple[Operation, ...]:
    one, fields = f"{path}{{id}}/", _fields(is_dr)
    write, remove = Action.CHANGE_ACCOUNTS, Action.DELETE_ACCOUNTS
    list_, make, read, change, forget, empty = (
        bound(view, is_dr=is_dr)
        for view in (index_of_kind, create, show, update, delete, delete_snapshots)
    )
    written: Any = {"body": fields, "answer": Account, "parameters": VALIDATE}
    return (
        Operation("GET", path, list_, Action.READ, listing=LISTING),
        Operation("POST", path, make, write, status=201, **written),
        Operation("GET", one, read, Action.READ, answer=Account),
        Operation("PUT", one, change, write, **written),
        Operation("DELETE", one, forget, remove, status=204),
        deletions.operation(f"{one}snapshots/", empty, remove, in_bulk=True),
    )


OPERATIONS = (
    Operation("GET", "/accounts/", index, Action.READ, listing=LISTING),
    *_operations("/accounts/backup/", is_dr=False),
    *_operations("/accounts/dr/", is_dr=True),
)
