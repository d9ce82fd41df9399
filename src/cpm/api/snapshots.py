"""Snapshots on the wire: an address for each kind, made from what drivers declare."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from msgspec import UNSET, Struct, UnsetType, defstruct

from cpm.api import answers, deletions, pages
from cpm.api.bound import bound, struct_name
from cpm.api.lists import Listing, by_column, by_text, choice, region, text
from cpm.api.operations import Operation, View
from cpm.api.request import Request
from cpm.api.shapes import SINCE_1_2, Shape, Shown
from cpm.engine.s3_progress import Progress
from cpm.models.snapshots import SnapshotStatus
from cpm.queries import backups, snapshots
from cpm.resources import registry
from cpm.resources.contract import Driver, SnapshotCollection
from cpm.resources.options import specs
from cpm.services import deletions as services
from cpm.services.access import Action


class Snapshot(Shown):
    """One protected copy of one resource. The last keys are shown where they apply."""

    id: int
    backup: int
    snapshot_id: str | None
    status: SnapshotStatus
    region: str
    account: int | None
    resource_id: str
    resource_name: str | None
    start_time: datetime | None
    finish_time: datetime | None
    deleted_time: datetime | None
    size_gib: int | None
    encrypted: bool | None
    progress: int
    error: str | None
    volume_device: str | UnsetType | None
    instance_id: str | UnsetType | None
    source_snapshot: int | UnsetType | None
    snapshot_type: str | UnsetType


class ArchivedSnapshot(Snapshot):
    """A copy in S3: what its blocks hold, and how much was stored for it beside what was there.

    Rate and time left are null while it is not being made, or nobody can tell.
    """

    repository: int | None
    size_bytes: int | None
    stored_bytes: int | None
    mib_per_second: Annotated[int | UnsetType | None, SINCE_1_2]
    seconds_left: Annotated[int | UnsetType | None, SINCE_1_2]


_COLUMNS = (
    *("id", "backup", "aws_ref", "status", "region", "account", "resource_id", "resource_name"),
    *("started_at", "finished_at", "deleted_at", "size_gib", "encrypted", "progress_percent"),
    *("error", "volume_device", "instance_id", "source_snapshot", "collection"),
)
_ARCHIVED = (
    *(f"s3_copy__{name}" for name in ("repository", "size_bytes", "stored_bytes")),
    "s3_progress",
)
_SOURCE = "source_snapshot"
_APPLICABLE = ("volume_device", "instance_id", _SOURCE)
_FILTERS = {
    "resource": text("resource_id"),
    "region": region("region"),
    "status": choice("status", SnapshotStatus),
}
_SEARCH = ("resource_id", "resource_name", "aws_ref")
_ORDERING = {
    "start_time": by_column("started_at"),
    "finish_time": by_column("finished_at"),
    "region": by_text("region"),
    "resource_id": by_text("resource_id"),
}


def listing_of(collection: SnapshotCollection) -> Listing[Any]:
    """What the snapshots of one kind look like."""
    missing = _inapplicable(collection)
    struct = ArchivedSnapshot if collection.is_archive else Snapshot
    columns = (*_COLUMNS, *_ARCHIVED) if collection.is_archive else _COLUMNS

    def build(*row: Any) -> Snapshot:
        snapshot = _made(_archived(*row) if collection.is_archive else Snapshot(*row), missing)
        snapshot.snapshot_type = UNSET
        return snapshot

    return Listing(Shape(struct, columns, build), _FILTERS, _SEARCH, _ORDERING)


def _archived(*row: Any) -> ArchivedSnapshot:
    *shown, measured = row
    told = Progress.of(measured)
    rate = (told.mib_per_second, told.seconds_left) if told else (None, None)
    copy = ArchivedSnapshot(*shown, *rate)
    copy.progress = told.percent if told else copy.progress
    return copy


def listing_of_all() -> Listing[Snapshot]:
    """What snapshots of all kinds look like together."""
    missing = {
        collection.name: _inapplicable(collection)
        for driver in registry.drivers()
        for collection in driver.snapshot_collections
    }

    def build(*row: Any) -> Snapshot:
        return _made(Snapshot(*row), missing[row[-1]])

    by_type = {"snapshot_type": choice("collection", missing)}
    return Listing(Shape(Snapshot, _COLUMNS, build), _FILTERS | by_type, _SEARCH, _ORDERING)


def _made(snapshot: Snapshot, missing: Sequence[str]) -> Snapshot:
    snapshot.snapshot_id = snapshot.snapshot_id or None
    snapshot.error = snapshot.error or None
    for key in missing:
        setattr(snapshot, key, UNSET)
    return snapshot


def _inapplicable(collection: SnapshotCollection) -> list[str]:
    shown = {*collection.extra_keys, *([_SOURCE] if collection.is_copy else [])}
    return [key for key in _APPLICABLE if key not in shown]


def index_all(request: Request, backup_id: int, *, listing: Listing[Any]) -> HttpResponseBase:
    """List the snapshots of a backup, of all kinds."""
    request.must_see(request.rows(backups.visible_to), backup_id)
    return pages.answer(request, request.rows(snapshots.of_backup, backup_id), listing)


def index(
    request: Request, backup_id: int, *, collection: str, listing: Listing[Any]
) -> HttpResponseBase:
    """List the snapshots of one kind."""
    request.must_see(request.rows(backups.visible_to), backup_id)
    rows = request.rows(snapshots.of_collection, backup_id, collection)
    return pages.answer(request, rows, listing)


def show(
    request: Request, backup_id: int, snapshot_id: int, *, collection: str, listing: Listing[Any]
) -> HttpResponse:
    """Retrieve a snapshot."""
    rows = request.rows(snapshots.of_collection, backup_id, collection)
    return answers.one(request, rows, snapshot_id, listing.shape)


def delete(
    request: Request, backup_id: int, snapshot_id: int, *, collection: str, listing: Listing[Any]
) -> HttpResponse:
    """Delete a snapshot in AWS; its row stays and says so."""
    dry_run = deletions.is_dry_run(request)
    rows = request.rows(snapshots.of_collection, backup_id, collection)
    answers.must_match(request, rows, snapshot_id, listing.shape)
    choices = services.snapshot(
        backup_id, collection, snapshot_id, actor=request.person, dry_run=dry_run
    )
    return deletions.answer(choices, dry_run=dry_run)


def index_resources(
    request: Request, backup_id: int, *, driver: Driver, listing: Listing[Any]
) -> HttpResponseBase:
    """List the resources of one type in a backup."""
    request.must_see(request.rows(backups.visible_to), backup_id)
    rows = request.rows(snapshots.resources_listed, backup_id, driver)
    return pages.answer(request, rows, listing)


def show_resource(
    request: Request, backup_id: int, target_id: int, *, driver: Driver, listing: Listing[Any]
) -> HttpResponse:
    """Retrieve what a backup has of a resource."""
    rows = request.rows(snapshots.resources_listed, backup_id, driver)
    return answers.one(request, rows, target_id, listing.shape)


def listing_of_resources(driver: Driver) -> Listing[Any]:
    """What resources of a type that is recovered whole look like in a backup."""
    struct = defstruct(
        struct_name(driver.kind, "InBackup"),
        [
            *(("id", int), ("backup", int), (driver.target_id_alias, str)),
            *(("resource_name", str | None), ("region", str), ("account", int | None)),
            *((name, str) for name in driver.shown_options),
            *(("image_id", str | None), ("volumes", list[int]), ("status", SnapshotStatus)),
            *(("start_time", datetime | None), ("finish_time", datetime | None)),
        ],
        bases=(Shown,),
        namespace={"__doc__": f"What a backup has of one {driver.label}."},
    )
    defaults = {spec.name: spec.default for spec in specs(driver.target_options)}

    def build(*row: Any) -> Struct:
        *common, chosen, whole_ref, part_ids, statuses, started_at, finished_at = row
        shown = (chosen.get(name, defaults[name]) for name in driver.shown_options)
        status = _together(statuses)
        return struct(*common, *shown, whole_ref or None, part_ids, status, started_at, finished_at)

    return Listing(
        Shape(struct, _RESOURCE_COLUMNS, build),
        filters={"resource": text("resource_id"), "region": region("region")},
        search=("resource_id", "resource_name"),
        ordering={"region": by_text("region"), "resource_id": by_text("resource_id")},
    )


_RESOURCE_COLUMNS = (
    *("id", "backup", "resource_id", "resource_name", "region", "backup__account"),
    *("options", "whole_ref", "part_ids", "statuses", "started_at", "finished_at"),
)


def _together(statuses: Sequence[str]) -> SnapshotStatus:
    """How a resource stands of which these are the snapshots: as bad as the worst that is left."""
    left = set(statuses) - {SnapshotStatus.DELETED}
    if not left:
        return SnapshotStatus.DELETED if statuses else SnapshotStatus.FAILED
    worst_first = (SnapshotStatus.IN_PROGRESS, SnapshotStatus.FAILED, SnapshotStatus.SUCCEEDED)
    return next(status for status in worst_first if status in left)


def operations() -> Iterator[Operation]:
    """The operations on snapshots of every kind, and on resources that are recovered whole."""
    listing = listing_of_all()
    view = bound(index_all, listing=listing)
    yield Operation("GET", "/backups/{backup_id}/snapshots/", view, Action.READ, listing=listing)
    for driver in registry.drivers():
        for collection in driver.snapshot_collections:
            yield from _of_collection(collection)
        if driver.is_recovered_whole:
            yield from _of_resources(driver)


def _of_collection(collection: SnapshotCollection) -> Iterator[Operation]:
    many = f"/backups/{{backup_id}}/snapshots/{collection.name}/"
    one, listing = f"{many}{{id}}/", listing_of(collection)

    def view(function: View) -> View:
        return bound(function, collection=collection.name, listing=listing)

    yield Operation("GET", many, view(index), Action.READ, listing=listing)
    yield Operation("GET", one, view(show), Action.READ, answer=listing.shape.struct)
    if not collection.is_archive:
        yield deletions.operation(one, view(delete), Action.CHANGE_BACKUPS)


def _of_resources(driver: Driver) -> Iterator[Operation]:
    many = f"/backups/{{backup_id}}/snapshots/{driver.target_collection}/"
    one, listing = f"{many}{{id}}/", listing_of_resources(driver)
    list_, read = (
        bound(view, driver=driver, listing=listing) for view in (index_resources, show_resource)
    )
    yield Operation("GET", many, list_, Action.READ, listing=listing)
    yield Operation("GET", one, read, Action.READ, answer=listing.shape.struct)
