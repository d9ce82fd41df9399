"""Finds out what exists in the accounts, so that a report can tell what nobody protects.

It goes with the inventory, once a day, and asks in the regions where an account's tags are scanned
and where it has targets. A list that breaks off says nothing about what is not on it.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice

from cpm.aws.sessions import Aws
from cpm.engine import accounts, events, jobs
from cpm.kernel import clock, regions
from cpm.kernel.faults import Fault
from cpm.models.accounts import Account
from cpm.models.discoveries import Discovered
from cpm.models.events import Stream
from cpm.models.policies import Target
from cpm.resources import machines, registry
from cpm.resources.contract import Driver, Resource

# What is held in memory of what AWS lists.
_BATCH = 500


def start() -> None:
    """Have every account looked through in which something can be protected."""
    protected = Account.objects.filter(is_dr_account=False)
    jobs.defer_discoveries(protected.values_list("pk", flat=True))


@jobs.DISCOVER.runs
def discover(account_id: int) -> None:
    """Look through one account, region by region."""
    account = Account.objects.select_related("assume_from_account").filter(pk=account_id).first()
    if account is None:
        return
    looked_in = list(regions_of(account))
    for region in looked_in:
        for driver in registry.drivers():
            _look(account, region, driver)
    Discovered.objects.filter(account=account).exclude(region__in=looked_in).delete()
    Account.objects.filter(pk=account_id).update(discovered_at=clock.now())


def regions_of(account: Account) -> Iterator[str]:
    """The regions in which the account's resources are looked for."""
    found = Target.objects.filter(policy__account=account).order_by()
    names = set(found.values_list("region", flat=True).distinct())
    scanned = map(regions.by_id, account.scan_regions)
    yield from sorted(names | {region.name for region in scanned if region is not None})


def _look(account: Account, region: str, driver: Driver) -> None:
    began_at = clock.now()
    try:
        aws = accounts.aws_of(account, region).on_behalf_of(f"discovery-{account.pk}")
        for batch in _batches(driver, aws):
            _note(account, batch, began_at)
    except Fault as fault:
        _log_failure(account, region, driver, fault)
        return
    gone = Discovered.objects.filter(account=account, region=region, kind=driver.kind)
    gone.filter(seen_at__lt=began_at).delete()


def _batches(driver: Driver, aws: Aws) -> Iterator[list[Resource]]:
    remaining = (each for each in driver.discover(aws) if not machines.is_one(each.tags))
    while batch := list(islice(remaining, _BATCH)):
        yield batch


def _note(account: Account, found: Iterable[Resource], seen_at: datetime) -> None:
    rows = {
        (each.kind, each.region, each.resource_id): Discovered(
            account=account,
            kind=each.kind,
            region=each.region,
            resource_id=each.resource_id,
            name=each.name,
            part_of=each.part_of or "",
            seen_at=seen_at,
        )
        for each in found
    }
    Discovered.objects.bulk_create(
        rows.values(),
        update_conflicts=True,
        unique_fields=["account", "kind", "region", "resource_id"],
        update_fields=["name", "part_of", "seen_at"],
    )


def _log_failure(account: Account, region: str, driver: Driver, fault: Fault) -> None:
    events.log(
        "discovery_failed",
        stream=Stream.CLEANUP,
        account=account.name,
        region=region,
        owner=account.user_id,
        kinds=driver.label_plural,
        error=str(fault),
    )
