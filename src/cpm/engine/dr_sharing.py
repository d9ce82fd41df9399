"""Copies of what records share: one in each place, which the later records refer to as well."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from cpm.engine import accounts
from cpm.engine.deleted import shared_collections
from cpm.engine.sharing import GIVEN, there
from cpm.models.dr_copies import DrCopy
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.resources import registry
from cpm.resources.contract import Driver, Json, SnapshotCollection

_LIVING = (SnapshotStatus.IN_PROGRESS, SnapshotStatus.SUCCEEDED)


@dataclass
class Shared:
    """What is to be made, and what is there to be referred to. The others wait for a copy that is
    being made just now.
    """

    to_make: list[DrCopy] = field(default_factory=list)
    to_refer: list[tuple[DrCopy, Snapshot]] = field(default_factory=list)


def without_ownership(facts: Json) -> Json:
    """What a copy has of its original's facts: it is ours, whoever owns the original."""
    return {name: value for name, value in facts.items() if name != GIVEN}


def look(copies: Sequence[DrCopy]) -> Shared:
    """Sort out copies by what there is already; raises Fault."""
    shared = set(shared_collections())
    found = Shared([copy for copy in copies if copy.original.collection not in shared])
    ordered = sorted((copy for copy in copies if copy not in found.to_make), key=_what_and_where)
    for _, group in groupby(ordered, key=_what_and_where):
        _sort_out(list(group), found)
    return found


def still_there(existing: Snapshot) -> bool:
    """Whether nobody has begun to delete it, nor can until the transaction ends."""
    rows = Snapshot.objects.filter(pk=existing.pk, status=SnapshotStatus.SUCCEEDED)
    return rows.filter(delete_requested_at=None).select_for_update().first() is not None


def _what_and_where(copy: DrCopy) -> tuple[str, int, str]:
    return copy.original.aws_ref, copy.account_id or 0, copy.region


def _sort_out(copies: Sequence[DrCopy], found: Shared) -> None:
    """Copies of the same thing in the same place."""
    existing = list(_existing(copies[0]))
    if any(row.status == SnapshotStatus.IN_PROGRESS for row in existing):
        return
    good = _good(copies[0], existing)
    if good is None:
        found.to_make.append(copies[0])
    else:
        found.to_refer += [(copy, good) for copy in copies]


def _existing(copy: DrCopy) -> Iterable[Snapshot]:
    original, (_, collection) = copy.original, _collection(copy)
    return Snapshot.objects.filter(
        source_snapshot__aws_ref=original.aws_ref,
        source_snapshot__collection=original.collection,
        collection=collection.copied_as,
        account=copy.account,
        region=copy.region,
        status__in=_LIVING,
        delete_requested_at=None,
    ).order_by("pk")


def _good(copy: DrCopy, existing: Sequence[Snapshot]) -> Snapshot | None:
    """One that AWS still has; raises Fault."""
    if not existing:
        return None
    driver, collection = _collection(copy)
    aws = accounts.aws_of(copy.account, copy.region)
    left = there(aws, driver, collection.shared_watch, sorted({row.aws_ref for row in existing}))
    return next((row for row in existing if row.aws_ref in left), None)


def _collection(copy: DrCopy) -> tuple[Driver, SnapshotCollection]:
    return registry.by_snapshot_collection(copy.original.collection)
