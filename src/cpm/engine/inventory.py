"""Compares what AWS keeps for this server with the rows, and sets right what differs.

What no row knows is taken into the record that had it made, or reported; what somebody else has
deleted is marked. Nothing is ever deleted here. A list that breaks off says nothing about what is
not on it. The rules are in docs/design/reconciliation.md.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings

from cpm.aws.sessions import Aws
from cpm.engine import (
    accounts,
    adoption,
    alerts,
    discovery,
    events,
    identity,
    jobs,
    machine_inventory,
    vanished,
)
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
    """What an inventory of one region of an account has come to."""

    account: Account
    region: str
    listed: int = 0
    adopted: int = 0
    unknown: Tally = field(default_factory=Tally)
    vanished: Tally = field(default_factory=Tally)


def is_due(now: datetime) -> bool:
    """Whether the interval has passed since the last inventory; without one it is never due."""
    hours = settings.ENVIRONMENT.inventory_hours
    if not hours:
        return False
    return times.has_passed(timedelta(hours=hours), Inventory.current().last_inventory_time, now)


@jobs.START_INVENTORY.runs
def begin_round() -> None:
    """Begin what comes round with the inventory: it, the look at what else exists, and machines.

    A server that has just been set up only starts to count the time.
    """
    if start():
        discovery.start()
        machine_inventory.start()


def start() -> bool:
    """Have every account looked through in which the server has ever made something.

    False for the first time, which only starts to count.
    """
    is_first = Inventory.current().last_inventory_time is None
    places = _all_places()
    Inventory.change(last_inventory_time=times.to_wire(clock.now()), places=places)
    if not is_first:
        jobs.defer_inventories(map(int, places))
    return not is_first


@jobs.TAKE_INVENTORY.runs
def take(account_id: int) -> None:
    """Look through one account, region by region."""
    account = Account.objects.select_related("assume_from_account").filter(pk=account_id).first()
    if account is None:
        return
    gone = Tally()
    looked = []
    for region, kinds in Inventory.current().places.get(str(account_id), {}).items():
        findings = Findings(account, region)
        looked.append(_look_through(findings, kinds))
        gone += findings.vanished
    vanished.review(account, gone, is_complete=all(looked))


def unknown_cause(account: Account, region: str) -> str:
    """The cause of alerts about what belongs to no record: one for each account and region."""
    return f"inventory:account:{account.pk}:{region}"


def _all_places() -> dict[str, dict[str, list[str]]]:
    """The kinds by region by account that rows say were made, now or before."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for known_id, regions in Inventory.current().places.items():
        for region, kinds in regions.items():
            found[known_id][region].update(kinds)
    for table in (Snapshot, Operation):
        rows = table.objects.exclude(account=None).order_by()
        for account_id, region, kind in rows.values_list("account", "region", "kind").distinct():
            found[str(account_id)][region].add(kind)
    known = Account.objects.filter(pk__in=found).values_list("pk", flat=True)
    return {
        str(account_id): {
            region: sorted(kinds) for region, kinds in sorted(found[str(account_id)].items())
        }
        for account_id in known
    }


def _look_through(findings: Findings, kinds: Collection[str]) -> bool:
    """Compare one region; False when AWS could not be asked to the end."""
    drivers = [driver for driver in registry.drivers() if driver.kind in kinds]
    # Each is tried, whatever became of those before.
    compared = [_compare(findings, driver) for driver in drivers]
    is_complete = all(compared)
    _conclude(findings, is_complete=is_complete)
    return is_complete


def _compare(findings: Findings, driver: Driver) -> bool:
    account, region = findings.account, findings.region
    try:
        aws = accounts.aws_of(account, region).on_behalf_of(f"inventory-{account.pk}")
        _compare_all(findings, driver, aws)
    except Fault as fault:
        _log("inventory_failed", findings, kinds=driver.label_plural, error=str(fault))
        return False
    return True


def _compare_all(findings: Findings, driver: Driver, aws: Aws) -> None:
    if driver.inventory is None:
        return
    began_at = clock.now()
    # Ids of rows: AWS keeps no more than a hundred thousand snapshots in a region.
    seen: set[int] = set()
    for batch in _batches(driver.inventory(aws, identity.server_id())):
        result = adoption.sort_out(driver, findings.region, batch)
        seen |= result.known
        findings.listed += len(batch)
        findings.adopted += result.adopted
        _note_unknown(findings, result.unknown)
    place = Place(driver.kind, findings.account, findings.region)
    findings.vanished += vanished.mark(aws, place, driver, seen, began_at)


def _batches(owned: Iterable[Owned]) -> Iterator[list[Owned]]:
    remaining = iter(owned)
    while batch := list(islice(remaining, _BATCH)):
        yield batch


def _note_unknown(findings: Findings, unknown: Iterable[Unknown]) -> None:
    for each in unknown:
        findings.unknown.add(each.owned.aws_ref)
        if findings.unknown.count <= _MOST_LOGGED:
            ref, reason = each.owned.aws_ref, each.reason
            _log("inventory_unknown", findings, snapshot=ref, reason=reason)


def _conclude(findings: Findings, *, is_complete: bool) -> None:
    """Say what came of it; the alert lasts as long as its cause."""
    unknown = findings.unknown
    if unknown.count:
        _alert_unknown(findings)
    elif is_complete:
        alerts.resolve(unknown_cause(findings.account, findings.region))
    if is_complete:
        counts = {"listed": findings.listed, "adopted": findings.adopted}
        gone = findings.vanished.count
        _log("inventory_finished", findings, **counts, unknown=unknown.count, vanished=gone)


def _alert_unknown(findings: Findings) -> None:
    account, region, unknown = findings.account, findings.region, findings.unknown
    alerts.raise_alert(
        unknown_cause(account, region),
        user=account.user,
        category=AlertCategory.CLEANUP,
        severity=AlertSeverity.WARNING,
        title=f"Account {account.name} keeps snapshots in {region} that belong to no record",
        message=f"{unknown.count} carry this server's tags and belong to no record: {unknown}."
        " They are not deleted; the cleanup log says more.",
    )


def _log(code: str, findings: Findings, **values: str | int) -> None:
    account = findings.account
    place = {"account": account.name, "region": findings.region, "owner": account.user_id}
    shown: dict[str, Any] = {**place, **values}
    events.log(code, stream=Stream.CLEANUP, **shown)
