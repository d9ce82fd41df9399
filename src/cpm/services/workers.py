"""Writes of workers' configurations: what machines that move data are launched with."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import transaction

from cpm.engine import accounts, alerts, machines
from cpm.kernel import names
from cpm.kernel.faults import Fault
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.accounts import Account
from cpm.models.workers import NetworkAccess, Worker
from cpm.queries import workers
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.resources.machines import WRONG_TYPE, check_type
from cpm.services import access, audit, references, unique
from cpm.services.access import Action
from cpm.services.fields import Field, Fields
from cpm.services.given import Given
from cpm.services.kinds import choice, integer, password, reference, text

MOST_PARALLEL_BLOCKS = 1000

FIELDS = Fields(
    (
        Field("user", reference(), fixed=True),
        Field("account", reference(), required=True, fixed=True),
        Field("region", references.region_name(), required=True),
        Field("key_pair", text(str.strip, max_length=255), nullable=True),
        Field("vpc", text(str.strip, max_length=64), nullable=True),
        Field("subnet", text(str.strip, max_length=64), nullable=True),
        Field("security_group", text(str.strip, max_length=64), nullable=True),
        Field("network_access", choice(*NetworkAccess)),
        Field("proxy_address", text(names.host, blank=True)),
        Field("proxy_port", integer(1, 65535), nullable=True),
        Field("proxy_user", text(blank=True, max_length=255)),
        Field("proxy_password", password(), nullable=True),
        Field("instance_type", text(str.strip, max_length=64), nullable=True),
        Field("max_parallel_blocks", integer(1, MOST_PARALLEL_BLOCKS), nullable=True),
    )
)

_COLUMNS = {"account": "account_id", "proxy_password": "sealed_proxy_password"}


def create(data: Mapping[str, object], *, actor: Person, validate: bool = True) -> Worker:
    """Make a configuration, whose type of machine must suit if it is to `validate`.

    Raises `Forbidden` and `Invalid`.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    given = FIELDS.read(data)
    worker = Worker(user_id=access.choose_owner(given, actor))
    references.refuse_foreign_account(given, Account.objects.filter(user_id=worker.user_id))
    _apply(given, worker)
    if validate:
        _refuse_wrong_type(worker)
    with transaction.atomic(), unique.kept_by("worker_unique", ""):
        worker.save(force_insert=True)
        audit.record(actor, "create worker", str(worker))
    return worker


def update(
    worker_id: int, data: Mapping[str, object], *, actor: Person, validate: bool = True
) -> None:
    """Change what `data` holds; a password that is left out stays.

    Raises `Forbidden`, `NotFound` and `Invalid`.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    worker = one(workers.visible_to(actor).select_related("account"), worker_id)
    given = FIELDS.read(data, partial=True)
    _apply(given, worker)
    if validate and given.keys() & {"instance_type", "region"}:
        _refuse_wrong_type(worker)
    with transaction.atomic(), unique.kept_by("worker_unique", ""):
        worker = _locked(worker_id, actor)
        columns = _apply(given, worker)
        # What has kept machines from being launched may be mended by that.
        worker.failures, worker.paused_until = 0, None
        worker.save(update_fields=[*columns, "failures", "paused_until"])
        alerts.resolve(machines.cause(worker))
        audit.record(actor, "update worker", str(worker), ", ".join(given))


@transaction.atomic
def delete(worker_id: int, *, actor: Person) -> None:
    """Forget a configuration. Raises `Forbidden` and `NotFound`."""
    access.require(actor, Action.CHANGE_BACKUPS)
    worker = _locked(worker_id, actor)
    name = str(worker)
    machines.wake(worker)
    alerts.resolve(machines.cause(worker))
    worker.delete()
    audit.record(actor, "delete worker", name)


def _locked(worker_id: int, actor: Person) -> Worker:
    rows = workers.visible_to(actor).select_for_update(of=("self",))
    return one(rows.select_related("account"), worker_id)


def _apply(given: Given, worker: Worker) -> list[str]:
    """Put what is given into the row; tells the columns. Raises `Invalid`."""
    _refuse_without_proxy(given, worker)
    _refuse_second(given, worker)
    given.check()
    columns = _columns(given)
    for column, value in columns.items():
        setattr(worker, column, value)
    return list(columns)


def _refuse_without_proxy(given: Given, worker: Worker) -> None:
    if given.get("network_access", worker.network_access) != NetworkAccess.PROXY:
        return
    refused = {problem.field for problem in given.problems}
    for name in ("proxy_address", "proxy_port"):
        if name not in refused and not given.get(name, getattr(worker, name)):
            given.refuse(name, "required", "Access by a proxy needs this.")


def _refuse_second(given: Given, worker: Worker) -> None:
    account_id = given.get("account", worker.account_id)
    region = given.get("region", worker.region)
    others = Worker.objects.filter(user_id=worker.user_id).exclude(pk=worker.pk)
    if others.filter(account_id=account_id, region=region).exists():
        given.refuse("", "unique", "There is a worker for this account and region already.")


def _refuse_wrong_type(worker: Worker) -> None:
    """Refuse what the server's software cannot run on; raises `Invalid`.

    What AWS does not say now is found out when a machine is launched.
    """
    if not worker.instance_type:
        return
    try:
        check_type(accounts.aws_of(worker.account, worker.region), worker.instance_type)
    except Fault as fault:
        if fault.code in WRONG_TYPE:
            raise Invalid(Problem("invalid", fault.message, "instance_type")) from fault


def _columns(given: Given) -> dict[str, Any]:
    """What is given, by column."""
    columns = {_COLUMNS.get(name, name): value for name, value in given.items() if name != "user"}
    if password := columns.get("sealed_proxy_password"):
        columns["sealed_proxy_password"] = settings.SEALER.seal(password)
    return columns
