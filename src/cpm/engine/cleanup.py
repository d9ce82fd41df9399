"""Cleanup: what has to happen now and then, by the settings of its section.

It applies every policy's retention, asks AWS again for deletions that it has refused, and forgets
records of which nothing is left. One that is interrupted stays due, and begins anew.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from cpm.engine import cleanup_log, deletions, dr_copies, events, jobs, retention, trail
from cpm.engine.deleted import live_snapshots, wanted_away
from cpm.engine.settings import Cleanup
from cpm.kernel import clock, times
from cpm.models.alerts import Alert
from cpm.models.backups import Backup, BackupPhase, CopyStatus
from cpm.models.events import Event, Stream
from cpm.models.idempotency import KeptAnswer
from cpm.models.notifications import Delivery
from cpm.models.operations import Operation, OperationPhase
from cpm.models.policies import Policy
from cpm.models.snapshots import Snapshot
from cpm.models.users import BadAttempt, UsedAssertion

# The API shows those of the last 30 days.
_KEEP_LOGS = timedelta(days=60)
_KEEP_DELIVERIES = timedelta(days=30)
# No window in which bad attempts are counted is longer.
_KEEP_ATTEMPTS = timedelta(days=1)
_RECORDS_AT_ONCE = 500


def is_due(now: datetime) -> bool:
    """Whether somebody wants a cleanup, or the interval has passed since the last one."""
    section = Cleanup.current()
    interval = timedelta(hours=section.cleanup_interval_hours)
    return section.is_wanted or times.has_passed(interval, section.last_cleanup_time, now)


def ask() -> None:
    """Have a cleanup begin at once, unless one is under way."""
    Cleanup.change(is_wanted=True)
    jobs.defer_cleanup()


@jobs.CLEAN_UP.runs
def look() -> None:
    """Clean up if it is time."""
    if is_due(clock.now()):
        run()


def run() -> None:
    """Clean up now."""
    section, now = Cleanup.current(), clock.now()
    events.log("cleanup_started", stream=Stream.CLEANUP)
    policies = Policy.objects.order_by("pk").values_list("pk", flat=True)
    expired = sum(retention.apply(policy_id) for policy_id in policies)
    retried = _retry_deletions() + dr_copies.ask_again()
    records = _forget_old_records(section.keep_records_days)
    audit = trail.drop_older_than(section.keep_audit_days)
    Event.objects.exclude(stream="").filter(at__lt=clock.now() - _KEEP_LOGS).delete()
    Delivery.objects.filter(finished_at__lt=now - _KEEP_DELIVERIES).delete()
    keep_records = timedelta(days=section.keep_records_days)
    Alert.objects.filter(resolved_at__lt=now - keep_records).delete()
    BadAttempt.objects.filter(window_started_at__lt=clock.now() - _KEEP_ATTEMPTS).delete()
    Session.objects.filter(expire_date__lt=clock.now()).delete()
    for passing in (UsedAssertion, KeptAnswer):
        passing.objects.filter(expires_at__lt=clock.now()).delete()
    events.log(
        "cleanup_finished",
        stream=Stream.CLEANUP,
        expired=expired,
        retried=retried,
        records=records,
        audit=audit,
    )
    Cleanup.change(last_cleanup_time=times.to_wire(clock.now()), is_wanted=False)


def _retry_deletions() -> int:
    """Ask AWS again for what it has refused so far."""
    being_asked = Operation.objects.filter(snapshot=OuterRef("pk")).exclude(
        phase=OperationPhase.CLOSED
    )
    # They were wanted away for a reason that may have spared no frozen ones.
    refused = wanted_away(with_s3=True).filter(~Exists(being_asked))
    choices = deletions.choose(refused, spare_frozen=False)
    for why in sorted({choice.kept_because for choice in choices if choice.kept_because}):
        needed = {each.snapshot.backup_id for each in choices if each.kept_because == why}
        cleanup_log.tell("record_needed", needed, why=why, reason=why)
    return deletions.request(choices)


def _forget_old_records(days: int) -> int:
    """Drop records of which nothing has been left for so many days."""
    old = list(_forgettable(clock.now() - timedelta(days=days)).values_list("pk", flat=True))
    for first in range(0, len(old), _RECORDS_AT_ONCE):
        _forget(old[first : first + _RECORDS_AT_ONCE], days)
    return len(old)


@transaction.atomic
def _forget(ids: Sequence[int], days: int) -> None:
    cleanup_log.tell("record_forgotten", ids, days=days)
    rows = Backup.objects.filter(pk__in=ids)
    records = rows.select_related("user").order_by("user", "pk")
    for owner, his in groupby(records, key=attrgetter("user")):
        why = f"nothing has been left of it for {days} days"
        trail.record(owner, "delete backup", ((str(record), why) for record in his))
    rows.delete()


def _forgettable(oldest: datetime) -> QuerySet[Backup]:
    of_record = {"backup": OuterRef("pk")}
    left = live_snapshots(with_s3=True).filter(**of_record)
    lately = Snapshot.objects.filter(**of_record, deleted_at__gte=oldest)
    return Backup.objects.filter(
        ~Exists(left),
        ~Exists(lately),
        phase=BackupPhase.CLOSED,
        finished_at__lt=oldest,
        retry_at=None,
    ).exclude(Q(dr_status=CopyStatus.IN_PROGRESS) | Q(s3_status=CopyStatus.IN_PROGRESS))
