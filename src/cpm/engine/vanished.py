"""Marks snapshots that somebody else has deleted in AWS.

A list proves nothing, since it may lag behind: what is not on it is looked at once more, by the
watch that saw it being made, and only its word counts.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby

from django.conf import settings
from django.db.models import Q

from cpm.aws.sessions import Aws
from cpm.engine import alerts, deleted
from cpm.engine.alerts import Tally
from cpm.engine.effects import effect_of
from cpm.engine.orders import Place
from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.alerts import Alert
from cpm.models.operations import OperationPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.resources import registry
from cpm.resources.contract import Driver, State

_ROWS_AT_ONCE = 1000
# Nobody should miss it because he looks at alerts after the weekend.
_TOLD_FOR = timedelta(days=7)


def mark(
    aws: Aws, place: Place, driver: Driver, seen: Collection[int], began_at: datetime
) -> Tally:
    """Mark those of a driver's snapshots that AWS has neither listed nor knows.

    `seen` are the ids of the rows whose copies were on the list, which was begun at `began_at`.
    Raises Fault.
    """
    gone = Tally()
    for rows in _chunks(place, driver, began_at):
        unlisted = [row for row in rows if row.pk not in seen]
        confirmed = sorted(_confirmed(aws, unlisted), key=lambda row: row.backup_id)
        for backup_id, its_own in groupby(confirmed, key=lambda row: row.backup_id):
            for row in deleted.mark_vanished(backup_id, list(its_own)):
                gone.add(f"{row.aws_ref} of backup {backup_id}")
    return gone


def review(account: Account, gone: Tally, *, is_complete: bool) -> None:
    """Raise the account's alert, or end it when for a week nothing more has vanished."""
    if gone.count:
        message = f"{gone.count} are not in AWS any longer: {gone}."
        deleted.alert_vanished(account, message)
    elif is_complete:
        cause = deleted.vanished_cause(account)
        old = Alert.objects.filter(cause=cause, raised_at__lt=clock.now() - _TOLD_FOR)
        alerts.resolve(*old.values_list("cause", flat=True))


def _chunks(place: Place, driver: Driver, began_at: datetime) -> Iterator[list[Snapshot]]:
    """The rows of what should have been on the list: settled, and not about to be deleted."""
    settled_at = began_at - timedelta(seconds=settings.ENVIRONMENT.settle_seconds)
    rows = Snapshot.objects.filter(
        Q(operation=None) | Q(operation__phase=OperationPhase.CLOSED),
        account=place.account,
        region=place.region,
        collection__in=[each.name for each in driver.snapshot_collections],
        status__in=[SnapshotStatus.SUCCEEDED, SnapshotStatus.FAILED],
        delete_requested_at=None,
        started_at__lte=settled_at,
    ).exclude(aws_ref="")
    rows = rows.select_related("operation", "account__user").order_by("pk")
    last = 0
    while chunk := list(rows.filter(pk__gt=last)[:_ROWS_AT_ONCE]):
        yield chunk
        last = chunk[-1].pk


def _confirmed(aws: Aws, rows: Iterable[Snapshot]) -> Iterator[Snapshot]:
    """Those of which AWS says that they do not exist."""
    for name, watched in groupby(sorted(rows, key=_watch_of), key=_watch_of):
        its_own = list(watched)
        refs = list(dict.fromkeys(row.aws_ref for row in its_own))
        verdicts = registry.watch(name).poll(aws, refs) if name else {}
        for row in its_own:
            if row.aws_ref in verdicts and verdicts[row.aws_ref].state is State.GONE:
                yield row


def _watch_of(row: Snapshot) -> str:
    """The watch that knows it; empty where there is none."""
    _, collection = registry.by_snapshot_collection(row.collection)
    if collection.shared_watch:
        return collection.shared_watch
    return effect_of(row.operation).watch if row.operation else ""
