"""S3 repositories on the wire."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from msgspec import UNSET, UnsetType

from cpm.api import answers, pages
from cpm.api.flags import VALIDATE, flag
from cpm.api.lists import Listing, by_column, by_text, number, text
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import SINCE_1_2, Shape, Shown
from cpm.models.repositories import Encryption
from cpm.queries.repositories import visible_to
from cpm.services import repositories
from cpm.services.access import Action
from cpm.services.repositories import FIELDS


class S3Repository(Shown):
    """Where snapshots are copied to: `aws_region` is null until AWS was asked.

    `kms_key` is there where one opens what is encrypted before it is sent.
    """

    id: int
    name: str
    user: int
    account: int
    bucket_name: str
    prefix: str
    aws_region: str | None
    description: str | None
    encryption: Encryption
    size_bytes: int
    stored_bytes: int
    last_verified: Annotated[datetime | UnsetType | None, SINCE_1_2]
    kms_key: Annotated[str | UnsetType, SINCE_1_2]


def _build(*row: Any) -> S3Repository:
    repository = S3Repository(*row)
    repository.aws_region = repository.aws_region or None
    repository.kms_key = repository.kms_key or UNSET
    return repository


SHAPE = Shape(
    S3Repository,
    (
        *("id", "name", "user", "account", "bucket_name", "prefix", "aws_region", "description"),
        *("encryption", "size_bytes", "stored_bytes", "last_verified_at", "kms_key"),
    ),
    _build,
)

LISTING = Listing(
    SHAPE,
    filters={"account": number("account"), "user": number("user"), "name": text("name")},
    search=("name", "bucket_name"),
    ordering={"name": by_text("name"), "account": by_column("account_id")},
)


def index(request: Request) -> HttpResponseBase:
    """List S3 repositories."""
    return pages.answer(request, request.rows(visible_to), LISTING)


def create(request: Request) -> HttpResponse:
    """Create an S3 repository, in its bucket too, after that was tried out."""
    validate = flag(request, "validate", default=True)
    body = request.body(FIELDS)
    repository = repositories.create(body, actor=request.person, validate=validate)
    return answers.one(request, request.rows(visible_to), repository.pk, SHAPE, status=201)


def show(request: Request, repository_id: int) -> HttpResponse:
    """Retrieve an S3 repository."""
    return answers.one(request, request.rows(visible_to), repository_id, SHAPE)


def update(request: Request, repository_id: int) -> HttpResponse:
    """Update name and description of an S3 repository."""
    visible = request.rows(visible_to)
    request.must_see(visible, repository_id)
    data = request.body(FIELDS)
    with answers.unchanged(request, visible, repository_id, SHAPE):
        repositories.update(repository_id, data, actor=request.person)
    return answers.one(request, visible, repository_id, SHAPE)


def delete(request: Request, repository_id: int) -> HttpResponse:
    """Delete an S3 repository from the server; nothing is deleted in the bucket."""
    with answers.unchanged(request, request.rows(visible_to), repository_id, SHAPE):
        repositories.delete(repository_id, actor=request.person)
    return answers.nothing()


_READ, _WRITE = Action.READ, Action.CHANGE_BACKUPS
_WRITTEN: Any = {"body": FIELDS, "answer": S3Repository}

OPERATIONS = (
    Operation("GET", "/s3_repositories/", index, _READ, listing=LISTING),
    Operation(
        "POST", "/s3_repositories/", create, _WRITE, status=201, parameters=VALIDATE, **_WRITTEN
    ),
    Operation("GET", "/s3_repositories/{id}/", show, _READ, answer=S3Repository),
    Operation("PUT", "/s3_repositories/{id}/", update, _WRITE, **_WRITTEN),
    Operation("DELETE", "/s3_repositories/{id}/", delete, _WRITE, status=204),
)
