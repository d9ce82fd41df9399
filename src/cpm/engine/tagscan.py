"""Scans tags: lets the targets of policies follow what is written on the resources in AWS.

A row for each account and region says when to look. A scan reads AWS without any lock and then
changes all of its place in one transaction, on condition that nobody else has done so meanwhile:
whatever dies on the way has done nothing, and the row stays due.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet

from cpm.engine import accounts, alerts, events, jobs, usage
from cpm.engine.queue import Overtaken
from cpm.engine.settings import TagScanning
from cpm.engine.tag_exclusions import Excluding
from cpm.engine.tag_report import Report
from cpm.engine.tag_rows import Known
from cpm.engine.tag_targets import Following
from cpm.engine.tag_wishes import Wishes, read
from cpm.kernel import clock, regions, times
from cpm.kernel.faults import Fault
from cpm.models.accounts import Account
from cpm.models.alerts import AlertCategory
from cpm.models.events import Stream
from cpm.models.tagscan import TagScan
from cpm.models.users import User

# AWS being away for a moment is no news.
_MOST_ATTEMPTS = 3
_RETRY = timedelta(minutes=1)


def tick(now: datetime) -> None:
    """Begin a round of scans when it is time, and note when one is over."""
    section = TagScanning.current()
    if section.is_under_way:
        _finish_round()
    elif section.enabled and _is_time(section, now):
        start()


@transaction.atomic
def start() -> list[TagScan]:
    """Have everything scanned that is to be, at once, as `ask` does."""
    # The row of the section is the lock of the round.
    TagScanning.change(is_under_way=True, started_time=times.to_wire(clock.now()))
    return ask(Account.objects.filter(is_dr_account=False))


def ask(wanted: QuerySet[Account]) -> list[TagScan]:
    """Have the places of these accounts scanned at once, as far as they scan; tells which.

    What is being scanned goes on.
    """
    now = clock.now()
    places = [
        TagScan(account=account, region=region.name, due_at=now)
        for account in wanted.filter(scan_tagged_resources=True).order_by("pk")
        for region in map(regions.by_id, sorted(set(account.scan_regions)))
        if region is not None
    ]
    TagScan.objects.bulk_create(
        places,
        update_conflicts=True,
        unique_fields=["account", "region"],
        update_fields=["due_at"],
    )
    jobs.defer_scans([place.pk for place in places])
    return places


@jobs.SCAN_TAGS.runs
def look(scan_id: int) -> None:
    """Scan one account in one region, if it is time."""
    scan = _due(scan_id)
    if scan is None:
        return
    if not _is_wanted(scan):
        _stop(scan)
        return
    _begin(scan)
    try:
        known = Known.of(scan.account, scan.region)
        report = Report(scan.account, scan.region)
        aws = accounts.aws_of(scan.account, scan.region).on_behalf_of(f"scan-{scan.pk}")
        wishes = read(aws, known, report)
    except Fault as fault:
        _wait_or_give_up(scan, fault)
    else:
        _follow(scan, wishes, report)


@jobs.SCAN_TAGS.gives_up
def give_up(scan_id: int) -> None:
    """The scan fails again and again, by no fault of AWS's."""
    scan = _due(scan_id)
    if scan is not None:
        _fail(scan, "an internal error, which is in the server's own log")


def failed_cause(scan: TagScan) -> str:
    """The cause of alerts about a place that cannot be scanned."""
    return f"tagscan:account:{scan.account_id}:{scan.region}"


def _is_time(section: TagScanning, now: datetime) -> bool:
    return times.has_passed(timedelta(hours=section.interval_hours), section.started_time, now)


def _finish_round() -> None:
    still_due = TagScan.objects.exclude(due_at=None)
    if still_due.exists():
        return
    with transaction.atomic():
        # Somebody may be starting another round just now.
        section = TagScanning.locked()
        if section.is_under_way and not still_due.exists():
            TagScanning.change(is_under_way=False, last_scan_time=times.to_wire(clock.now()))


def _due(scan_id: int) -> TagScan | None:
    scans = TagScan.objects.select_related("account__user", "account__assume_from_account")
    return scans.filter(pk=scan_id, due_at__lte=clock.now()).first()


def _is_wanted(scan: TagScan) -> bool:
    region = regions.by_name(scan.region)
    account = scan.account
    return (
        account.scan_tagged_resources and region is not None and (region.id in account.scan_regions)
    )


def _begin(scan: TagScan) -> None:
    if scan.started_at is None:
        with transaction.atomic():
            _change(scan, started_at=clock.now())
            _log("scan_started", scan)


def _follow(scan: TagScan, wishes: Wishes, report: Report) -> None:
    with transaction.atomic():
        # In the order of locks of everybody who adds targets.
        try:
            usage.lock_owner(scan.account.user_id)
        except User.DoesNotExist:
            raise Overtaken("the owner was deleted") from None
        _end(scan)
        known = Known.of(scan.account, scan.region, locked=True)
        targets = Following(known, wishes, report).follow()
        Excluding(known, wishes, report, targets).exclude()
        report.finish()
        alerts.resolve(failed_cause(scan))


def _wait_or_give_up(scan: TagScan, fault: Fault) -> None:
    if not fault.worth_another_try or scan.attempts + 1 >= _MOST_ATTEMPTS:
        _fail(scan, str(fault))
        return
    wait = timedelta(seconds=fault.retry_after_seconds or 0)
    with transaction.atomic():
        if not scan.attempts:
            _log("scan_delayed", scan, error=str(fault))
        due_at = clock.now() + max(wait, _RETRY * 2**scan.attempts)
        _change(scan, due_at=due_at, attempts=scan.attempts + 1)


def _fail(scan: TagScan, error: str) -> None:
    with transaction.atomic():
        _end(scan)
        _log("scan_failed", scan, error=error)
        alerts.raise_alert(
            failed_cause(scan),
            user=scan.account.user,
            category=AlertCategory.TAG_SCAN,
            title=f"Tags of account {scan.account.name} in {scan.region} could not be read",
            message=error,
        )


def _stop(scan: TagScan) -> None:
    """Nobody wants the place scanned any longer."""
    with transaction.atomic():
        _end(scan)
        alerts.resolve(failed_cause(scan))


def _end(scan: TagScan) -> None:
    _change(scan, due_at=None, started_at=None, attempts=0)


def _change(scan: TagScan, **changes: Any) -> None:
    """Change the row; raises Overtaken when somebody was first."""
    unchanged = TagScan.objects.filter(pk=scan.pk, version=scan.version)
    if not unchanged.update(version=F("version") + 1, **changes):
        raise Overtaken(f"{scan} is not at version {scan.version} any longer")
    scan.version += 1
    for name, value in changes.items():
        setattr(scan, name, value)


def _log(code: str, scan: TagScan, **values: Any) -> None:
    account = scan.account
    values = {"account": account.name, "region": scan.region, "owner": account.user_id, **values}
    events.log(code, stream=Stream.TAG_SCAN, **values)
