"""Compares what AWS keeps for this server with the rows, and sets right what differs.

What no row knows is taken into the record that had it made, or reported; what somebody else has
deleted is marked. Nothing is ever deleted here. A list that breaks off says nothing about what is
not on it. The rules are in docs/design/reconciliation.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings

from cpm.aws.sessions import Aws
from cpm.engine import accounts, adoption, alerts, events, identity, jobs, vanished
from cpm.engine.adoption import Unknown
from cpm.engine.alerts import Tally
from cpm.engine.orders import Place
from cpm.engine.settings import Inventory
from cpm.kernel import clock, times
from cpm.kernel.faults import Fault
from cpm.models.accounts import Account
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.events import Stream
from cpm.models.operations import Operation
from cpm.models.snapshots import Snapshot
from cpm.resources import registry
from cpm.resources.contract import Driver, Owned

# What is held in memory of what AWS lists.
_BATCH = 500
# Lines about single snapshots that one inventory of a region writes.
_MOST_LOGGED = 100


@dataclass
class Findings:
    """What an inventory of one region has come to."""

    listed: int = 0
    adopted: int = 0
    unknown: Tally = field(default_factory=Tally)
    vanished: Tally = field(default_factory=Tally)


def is_due(now: datetime) -> bool:
    """Whether the interval has passed since the last inventory; without one it is never due."""
    hours = settings.ENVIRONMENT.inventory_hours
    if not hours:
        return False
    last = Inventory.current().last_inventory_time
    return last is None or now >= times.parse(last) + timedelta(hours=hours)


@jobs.START_INVENTORY.runs
def start() -> None:
    """Have every account looked through in which the server has ever made something.

    A server that has just been set up only starts to count the time.
    """
    is_first = Inventory.current().last_inventory_time is None
    places = _all_places()
    Inventory.change(last_inventory_time=times.to_wire(clock.now()), places=places)
    if not is_first:
        jobs.defer_inventories(map(int, places))


@jobs.TAKE_INVENTORY.runs
def take(account_id: int) -> None:
    """Look through one account, region by region."""
    account = Account.objects.select_related("assume_from_account").filter(pk=account_id).first()
    if account is None:
        return
    gone = Tally()
    regions = Inventory.current().places.get(str(account_id), [])
    looked = [_look_through(account, region, gone) for region in regions]
    vanished.review(account, gone, is_complete=all(looked))


def unknown_cause(account: Account, region: str) -> str:
    """The cause of alerts about what belongs to no record: one for each account and region."""
    return f"inventory:account:{account.pk}:{region}"


def _all_places() -> dict[str, list[str]]:
    """The regions by account in which rows say that something was made, now or before."""
    regions: dict[int, set[str]] = defaultdict(set)
    for known_id, names in Inventory.current().places.items():
        regions[int(known_id)].update(names)
    for rows in (Snapshot.objects, Operation.objects):
        there = rows.exclude(account=None).order_by().values_list("account", "region").distinct()
        for account_id, region in there:
            regions[account_id].add(region)
    known = Account.objects.filter(pk__in=regions).values_list("pk", flat=True)
    return {str(account_id): sorted(regions[account_id]) for account_id in known}


def _look_through(account: Account, region: str, gone: Tally) -> bool:
    """Compare one region, adding to what is gone; False when AWS could not be asked to the end."""
    findings = Findings(vanished=gone)
    before = gone.count
    try:
        aws = accounts.aws_of(account, region).on_behalf_of(f"inventory-{account.pk}")
        for driver in registry.drivers():
            _compare(driver, aws, Place(driver.kind, account, region), findings)
    except Fault as fault:
        _log("inventory_failed", account, region, error=str(fault))
        return False
    _conclude(account, region, findings, gone.count - before)
    return True


def _compare(driver: Driver, aws: Aws, place: Place, findings: Findings) -> None:
    if driver.inventory is None:
        return
    began_at = clock.now()
    # Ids of rows: AWS keeps no more than a hundred thousand snapshots in a region.
    seen: set[int] = set()
    for batch in _batches(driver.inventory(aws, identity.server_id())):
        result = adoption.sort_out(driver, place.region, batch)
        seen |= result.known
        findings.listed += len(batch)
        findings.adopted += result.adopted
        _note_unknown(place, findings, result.unknown)
    vanished.mark(aws, place, driver, seen, began_at=began_at, gone=findings.vanished)


def _batches(owned: Iterable[Owned]) -> Iterator[list[Owned]]:
    remaining = iter(owned)
    while batch := list(islice(remaining, _BATCH)):
        yield batch


def _note_unknown(place: Place, findings: Findings, unknown: Iterable[Unknown]) -> None:
    for each in unknown:
        findings.unknown.add(each.owned.aws_ref)
        if findings.unknown.count <= _MOST_LOGGED:
            snapshot, reason = each.owned.aws_ref, each.reason
            _log("inventory_unknown", place.account, place.region, snapshot=snapshot, reason=reason)


def _conclude(account: Account, region: str, findings: Findings, gone: int) -> None:
    """Say what came of it; the alert lasts as long as its cause."""
    counts = {"listed": findings.listed, "adopted": findings.adopted, "vanished": gone}
    unknown = findings.unknown
    _log("inventory_finished", account, region, unknown=unknown.count, **counts)
    cause = unknown_cause(account, region)
    if not unknown.count:
        alerts.resolve(cause)
        return
    alerts.raise_alert(
        cause,
        user=account.user,
        category=AlertCategory.CLEANUP,
        severity=AlertSeverity.WARNING,
        title=f"Account {account.name} keeps snapshots in {region} that belong to no record",
        message=f"{unknown.count} carry this server's tags and belong to no record: {unknown}."
        " They are not deleted; the cleanup log says more.",
    )


def _log(code: str, account: Account | None, region: str, **values: str | int) -> None:
    name = account.name if account else ""
    shown: dict[str, Any] = {"account": name, "region": region, **values}
    events.log(code, stream=Stream.CLEANUP, **shown)
