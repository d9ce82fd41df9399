"""Workers' configurations on the wire."""

from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from msgspec import UNSET, UnsetType

from cpm.api import answers, pages
from cpm.api.flags import VALIDATE, flag
from cpm.api.lists import Listing, by_column, by_text, number, region
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import Shape, Shown
from cpm.models.workers import NetworkAccess
from cpm.queries.workers import visible_to
from cpm.services import workers
from cpm.services.access import Action
from cpm.services.workers import FIELDS


class Worker(Shown):
    """What moves data of an account in a region; the proxy is shown where it is used."""

    id: int
    user: int
    account: int
    region: str
    key_pair: str | None
    vpc: str | None
    subnet: str | None
    security_group: str | None
    network_access: NetworkAccess
    proxy_address: str | UnsetType
    proxy_port: int | UnsetType | None
    proxy_user: str | UnsetType
    instance_type: str | None
    max_parallel_blocks: int | None


def _build(*row: Any) -> Worker:
    worker = Worker(*row)
    if worker.network_access != NetworkAccess.PROXY:
        worker.proxy_address = worker.proxy_port = worker.proxy_user = UNSET
    return worker


SHAPE = Shape(Worker, Worker.__struct_fields__, _build)

LISTING = Listing(
    SHAPE,
    filters={"account": number("account"), "region": region("region"), "user": number("user")},
    search=("region",),
    ordering={"account": by_column("account_id"), "region": by_text("region")},
)


def index(request: Request) -> HttpResponseBase:
    """List workers."""
    return pages.answer(request, request.rows(visible_to), LISTING)


def create(request: Request) -> HttpResponse:
    """Create a worker for an account and a region."""
    validate = flag(request, "validate", default=True)
    worker = workers.create(request.body(FIELDS), actor=request.person, validate=validate)
    return answers.one(request, request.rows(visible_to), worker.pk, SHAPE, status=201)


def show(request: Request, worker_id: int) -> HttpResponse:
    """Retrieve a worker."""
    return answers.one(request, request.rows(visible_to), worker_id, SHAPE)


def update(request: Request, worker_id: int) -> HttpResponse:
    """Update a worker; what is left out stays as it is, the password included."""
    visible = request.rows(visible_to)
    request.must_see(visible, worker_id)
    data = request.body(FIELDS)
    validate = flag(request, "validate", default=True)
    with answers.unchanged(request, visible, worker_id, SHAPE):
        workers.update(worker_id, data, actor=request.person, validate=validate)
    return answers.one(request, visible, worker_id, SHAPE)


def delete(request: Request, worker_id: int) -> HttpResponse:
    """Delete a worker."""
    with answers.unchanged(request, request.rows(visible_to), worker_id, SHAPE):
        workers.delete(worker_id, actor=request.person)
    return answers.nothing()


_READ, _WRITE = Action.READ, Action.CHANGE_BACKUPS
_WRITTEN: Any = {"body": FIELDS, "answer": Worker, "parameters": VALIDATE}

OPERATIONS = (
    Operation("GET", "/workers/", index, _READ, listing=LISTING),
    Operation("POST", "/workers/", create, _WRITE, status=201, **_WRITTEN),
    Operation("GET", "/workers/{id}/", show, _READ, answer=Worker),
    Operation("PUT", "/workers/{id}/", update, _WRITE, **_WRITTEN),
    Operation("DELETE", "/workers/{id}/", delete, _WRITE, status=204),
)
