"""Copies that records share: one is made when there is none, and later records refer to it.

Every record has a row of its own for the copy, with the same `aws_ref`. Whoever gives up a row
locks all of them, so that the copy goes with the last one and never before.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import reduce
from operator import or_

from django.db.models import Q, QuerySet

from cpm.aws.sessions import Aws
from cpm.engine import cleanup_log, events
from cpm.engine.deleted import kept_snapshots, shared_collections
from cpm.engine.orders import Place, snapshot_row
from cpm.engine.settings import Cleanup
from cpm.kernel import clock
from cpm.models.backups import BackupTarget
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.resources import registry
from cpm.resources.contract import Driver, Order, Part, State

# In the facts of what its owner has named and keeps: it is referred to and never deleted.
GIVEN = "is_given"

Key = tuple[str, str]


@dataclass
class Shared:
    """What is there to be referred to, for the targets of one region."""

    place: Place
    # By collection and resource.
    existing: Mapping[Key, Snapshot] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    references: list[Snapshot] = field(default_factory=list)

    def take(self, target: BackupTarget, ordered: Iterable[Order]) -> list[Order]:
        """Refer to what is there already; the orders that are left make what is not."""
        return [order for order in ordered if not self._is_there(target, order)]

    def _is_there(self, target: BackupTarget, order: Order) -> bool:
        if not order.parts:
            return False
        part = order.parts[0]
        if part.given_ref:
            self._refer_to_given(target, part)
            return True
        original = self.existing.get((part.collection, part.resource_id))
        if original is None:
            return False
        self._refer(target, part, original)
        return True

    def _refer(self, target: BackupTarget, part: Part, original: Snapshot) -> None:
        row = snapshot_row(self.place, target, None, part)
        row.status, row.progress_percent = SnapshotStatus.SUCCEEDED, 100
        row.aws_ref, row.facts = original.aws_ref, original.facts
        row.size_gib, row.encrypted = original.size_gib, original.encrypted
        row.started_at, row.finished_at = original.started_at, original.finished_at
        self.references.append(row)

    def _refer_to_given(self, target: BackupTarget, part: Part) -> None:
        if part.given_ref not in self.given:
            target.error = f"{part.given_ref} does not exist in {self.place.region}"
            events.log(
                "target_refused",
                backup=target.backup,
                kind=registry.driver(self.place.kind).label,
                resource=target.resource_id,
                error=target.error,
            )
            return
        now = clock.now()
        facts = {**part.facts, GIVEN: True}
        original = Snapshot(aws_ref=part.given_ref, facts=facts, started_at=now, finished_at=now)
        self._refer(target, part, original)


def look(aws: Aws, place: Place, driver: Driver, ordered: Iterable[Order]) -> Shared:
    """What AWS still has of what the orders could share. Raises Fault."""
    existing: dict[Key, Snapshot] = {}
    given: set[str] = set()
    parts = [part for order in ordered for part in order.parts]
    for collection in driver.snapshot_collections:
        its_own = [part for part in parts if part.collection == collection.name]
        if not collection.shared_watch or not its_own:
            continue
        rows = _candidates(place, its_own)
        named = {part.given_ref for part in its_own if part.given_ref}
        refs = {row.aws_ref for row in rows} | named
        left = there(aws, driver, collection.shared_watch, sorted(refs))
        given |= named & left
        existing |= {(row.collection, row.resource_id): row for row in rows if row.aws_ref in left}
    return Shared(place, existing, frozenset(given))


def lock(shared: Shared) -> None:
    """Keep what is there from being deleted until the transaction ends; forget what is going."""
    ids = [row.pk for row in shared.existing.values()]
    locked = Snapshot.objects.select_for_update().filter(pk__in=ids).order_by("pk")
    staying = {
        row.pk
        for row in locked
        if row.status == SnapshotStatus.SUCCEEDED and row.delete_requested_at is None
    }
    shared.existing = {key: row for key, row in shared.existing.items() if row.pk in staying}


def with_sharers(snapshots: QuerySet[Snapshot]) -> QuerySet[Snapshot]:
    """The snapshots, and all other rows of those that are shared."""
    shared = snapshots.filter(collection__in=shared_collections()).exclude(aws_ref="")
    same = [Q(account=row.account_id, aws_ref=row.aws_ref) for row in shared]
    return Snapshot.objects.filter(reduce(or_, same, Q(pk__in=snapshots.values("pk"))))


def is_given(snapshot: Snapshot) -> bool:
    """Whether it is its owner's, and not ours to delete."""
    return bool(snapshot.facts.get(GIVEN))


def others_need(snapshot: Snapshot) -> bool:
    """Whether records refer to it that are not being deleted, beside the snapshot's own."""
    if snapshot.collection not in shared_collections():
        return False
    rows = kept_snapshots().filter(account=snapshot.account_id, aws_ref=snapshot.aws_ref)
    return rows.exclude(pk=snapshot.pk).exists()


def why_they_stay(going: Sequence[Snapshot]) -> dict[int, str]:
    """The rows whose copies AWS would keep if all of these were given up together, and why."""
    shared = [row for row in going if row.collection in shared_collections()]
    others = kept_snapshots().filter(aws_ref__in={row.aws_ref for row in shared})
    needed = set(others.exclude(pk__in=[row.pk for row in going]).values_list("account", "aws_ref"))
    stay = {row.pk: "its owner has named it" for row in shared if is_given(row)}
    return {
        row.pk: "other backups need it" for row in shared if (row.account_id, row.aws_ref) in needed
    } | stay


def let_go(going: Sequence[Snapshot]) -> list[Snapshot]:
    """Give up the rows whose copies stay in AWS; the others are to be deleted there.

    All rows are locked, and marked as wanted away.
    """
    shared = set(shared_collections())
    last: dict[str, int] = {row.aws_ref: row.pk for row in going if row.collection in shared}
    released = [
        row
        for row in going
        if row.collection in shared
        and (is_given(row) or last[row.aws_ref] != row.pk or others_need(row))
    ]
    ids = {row.pk for row in released}
    Snapshot.objects.filter(pk__in=ids).update(
        status=SnapshotStatus.DELETED, deleted_at=clock.now()
    )
    for row in released:
        events.log(
            "snapshot_let_go", backup=row.backup, snapshot=row.aws_ref, resource=row.resource_id
        )
    for backup_id, count in Counter(row.backup_id for row in released).items():
        cleanup_log.tell("record_let_go", [backup_id], snapshots=count)
    return [row for row in going if row.pk not in ids]


def _candidates(place: Place, parts: Sequence[Part]) -> list[Snapshot]:
    """The newest good copy of each resource, if it is not old enough to be replaced."""
    oldest = clock.now() - timedelta(days=Cleanup.current().rotate_single_amis_days)
    rows = Snapshot.objects.filter(
        account=place.account,
        region=place.region,
        collection=parts[0].collection,
        resource_id__in=[part.resource_id for part in parts if not part.given_ref],
        status=SnapshotStatus.SUCCEEDED,
        delete_requested_at=None,
        started_at__gt=oldest,
    )
    ours = (row for row in rows.order_by("started_at", "pk") if not is_given(row))
    return list({row.resource_id: row for row in ours}.values())


def there(aws: Aws, driver: Driver, watch: str, refs: Sequence[str]) -> set[str]:
    """Those of the refs that AWS still has, for all that is known; raises Fault."""
    verdicts = driver.watch(watch).poll(aws, refs) if refs else {}
    good = (State.DONE, State.UNKNOWN)
    return {ref for ref, verdict in verdicts.items() if verdict.state in good}
