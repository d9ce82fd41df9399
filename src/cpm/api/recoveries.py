"""Recoveries on the wire, and the endpoints that start one, for each type that can."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from msgspec import UNSET, UnsetType

from cpm.api import answers, logs, pages
from cpm.api.bound import bound
from cpm.api.lists import Listing, by_column, choice, number
from cpm.api.operations import Operation, View
from cpm.api.outcomes import by_status
from cpm.api.request import Request
from cpm.api.shapes import SINCE_1_2, Shape, Shown
from cpm.engine.recoveries import FROM_S3
from cpm.engine.s3_progress import Progress
from cpm.models.recoveries import Recovery as Row
from cpm.models.recoveries import RecoveryOutcome
from cpm.queries import events, snapshots
from cpm.queries.outcomes import STATUS, status
from cpm.queries.recoveries import listed, visible_to
from cpm.resources import registry
from cpm.resources.contract import Driver, SnapshotCollection
from cpm.services import recoveries
from cpm.services.access import Action
from cpm.services.fields import Fields
from cpm.services.recoveries import fields_of, fields_of_snapshot


class Recovery(Shown):
    """One request to bring a resource back.

    Of recoveries from S3 the rate and the time left are known while data is moved.
    """

    id: int
    user: int
    account: int | None
    backup: int | None
    policy: int | None
    recovery_type: str
    status: str
    recovery_time: datetime
    backup_time: datetime
    finish_time: datetime | None
    resource_id: str
    region: str
    result_resource_id: str | None
    result_resource_ids: Annotated[list[str] | UnsetType, SINCE_1_2]
    options: dict[str, Any]
    error: str | None
    progress: Annotated[int | UnsetType, SINCE_1_2]
    mib_per_second: Annotated[int | UnsetType | None, SINCE_1_2]
    seconds_left: Annotated[int | UnsetType | None, SINCE_1_2]


_COLUMNS = (
    *("id", "user", "account", "shown_backup_id", "policy", "recovery_type", "outcome"),
    *("started_at", "backup_started_at", "finished_at", "resource_id", "region"),
    *("result_resource_ids", "options", "error", "progress", "s3_progress"),
)


def _build(*row: Any) -> Recovery:
    recovery, user, account, backup, policy, recovery_type, outcome = row[:7]
    started_at, backup_started_at, finished_at, resource_id, region = row[7:12]
    results, options, error, progress, measured = row[12:]
    return Recovery(
        recovery,
        user,
        account,
        backup,
        policy,
        recovery_type,
        status(outcome),
        started_at,
        backup_started_at,
        finished_at,
        resource_id,
        region,
        results[0] if results else None,
        results,
        options,
        error or None,
        progress,
        *_rate(measured) if recovery_type == FROM_S3 else (UNSET, UNSET),
    )


def _rate(measured: Any) -> tuple[int | None, int | None]:
    told = Progress.of(measured)
    return (told.mib_per_second, told.seconds_left) if told else (None, None)


SHAPE = Shape(Recovery, _COLUMNS, _build)


def _types() -> list[str]:
    return sorted({FROM_S3, *(each.recovery_type for each in registry.drivers())} - {""})


LISTING = Listing(
    SHAPE,
    filters={
        "user": number("user"),
        "account": number("account"),
        "policy": number("policy"),
        "backup": number("shown_backup_id"),
        "status": by_status(RecoveryOutcome),
        "recovery_type": choice("recovery_type", _types()),
    },
    search=("resource_id", "result_resource_ids"),
    ordering={
        "recovery_time": by_column("started_at"),
        "finish_time": by_column("finished_at"),
        "status": STATUS,
    },
)


def index(request: Request) -> HttpResponseBase:
    """List recoveries."""
    return pages.answer(request, request.rows(listed), LISTING)


def show(request: Request, recovery_id: int) -> HttpResponse:
    """Retrieve a recovery."""
    return answers.one(request, request.rows(listed), recovery_id, SHAPE)


def delete(request: Request, recovery_id: int) -> HttpResponse:
    """Forget a recovery; what was recovered stays."""
    with answers.unchanged(request, request.rows(listed), recovery_id, SHAPE):
        recoveries.delete(recovery_id, actor=request.person)
    return answers.nothing()


def show_logs(request: Request, recovery_id: int) -> HttpResponseBase:
    """List what happened in a recovery."""
    request.must_see(request.rows(visible_to), recovery_id)
    lines = request.rows(events.of_recovery, recovery_id)
    return logs.answer(request, lines, f"recovery_{recovery_id}_logs.csv")


def from_snapshot(
    request: Request,
    backup_id: int,
    snapshot_id: int,
    *,
    driver: Driver,
    collection: SnapshotCollection,
) -> HttpResponse:
    """Bring back the resource that a snapshot, or a copy in S3, was made of."""
    rows = request.rows(snapshots.of_collection, backup_id, collection.name)
    request.must_see(rows, snapshot_id)
    recovery = recoveries.from_snapshot(
        backup_id,
        driver,
        collection,
        snapshot_id,
        request.body(fields_of_snapshot(driver, collection)),
        actor=request.person,
    )
    return _started(request, recovery)


def of_resource(
    request: Request, backup_id: int, target_id: int, *, driver: Driver
) -> HttpResponse:
    """Bring back a resource from all that a backup has of it."""
    request.must_see(request.rows(snapshots.resources, backup_id, driver), target_id)
    data = request.body(fields_of(driver))
    recovery = recoveries.of_resource(backup_id, driver, target_id, data, actor=request.person)
    return _started(request, recovery)


def _started(request: Request, recovery: Row) -> HttpResponse:
    return answers.one(request, request.rows(listed), recovery.pk, SHAPE, status=201)


def operations() -> Iterator[Operation]:
    """The operations on recoveries, and those that start one for every type that can."""
    read, write = Action.READ, Action.RECOVER
    yield Operation("GET", "/recoveries/", index, read, listing=LISTING)
    yield Operation("GET", "/recoveries/{id}/", show, read, answer=Recovery)
    yield Operation("DELETE", "/recoveries/{id}/", delete, write, status=204)
    yield logs.operation("/recoveries/{id}/logs/", show_logs)
    for driver in registry.drivers():
        yield from _starting(driver)


def _starting(driver: Driver) -> Iterator[Operation]:
    for collection in driver.snapshot_collections:
        if collection.can_recover:
            view = bound(from_snapshot, driver=driver, collection=collection)
            yield _start(collection.name, view, fields_of_snapshot(driver, collection))
    if driver.is_recovered_whole:
        view = bound(of_resource, driver=driver)
        yield _start(driver.target_collection, view, fields_of(driver))


def _start(collection: str, view: View, fields: Fields) -> Operation:
    return Operation(
        "POST",
        f"/backups/{{backup_id}}/snapshots/{collection}/{{snapshot_id}}/recover/",
        view,
        Action.RECOVER,
        body=fields,
        answer=Recovery,
        status=201,
    )
