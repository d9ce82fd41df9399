"""Cleanup: what has to happen now and then, by the settings of its section.

It applies every policy's retention, asks AWS again for deletions that it has refused, and forgets
records of which nothing is left.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef

from cpm.engine import deletions, events, jobs, retention, sharing
from cpm.engine.deleted import live_snapshots, wanted_away
from cpm.kernel import clock, times
from cpm.models.backups import Backup, BackupPhase, CopyStatus
from cpm.models.events import Event, Stream
from cpm.models.operations import Operation, OperationPhase
from cpm.models.policies import Policy
from cpm.models.settings import Setting
from cpm.models.users import BadAttempt

SECTION = "cleanup"
DEFAULTS = {
    "cleanup_interval_hours": 6,
    "keep_records_days": 90,
    "rotate_single_amis_days": sharing.DEFAULT_ROTATION_DAYS,
}
LAST = "last_cleanup_time"
# The API shows those of the last 30 days.
_KEEP_LOGS = timedelta(days=60)
# No window in which bad attempts are counted is longer.
_KEEP_ATTEMPTS = timedelta(days=1)


def is_due(now: datetime) -> bool:
    """Whether the interval has passed since the last cleanup."""
    section = _section()
    last = section.get(LAST)
    if last is None:
        return True
    interval = timedelta(hours=section["cleanup_interval_hours"])
    return now >= times.parse(last) + interval


@jobs.CLEAN_UP.runs
def run() -> None:
    """Clean up now."""
    events.log("cleanup_started", stream=Stream.CLEANUP)
    _note_time()
    policies = Policy.objects.order_by("pk").values_list("pk", flat=True)
    expired = sum(retention.apply(policy_id) for policy_id in policies)
    retried = _retry_deletions()
    records = _forget_old_records()
    Event.objects.exclude(stream="").filter(at__lt=clock.now() - _KEEP_LOGS).delete()
    BadAttempt.objects.filter(window_started_at__lt=clock.now() - _KEEP_ATTEMPTS).delete()
    events.log(
        "cleanup_finished",
        stream=Stream.CLEANUP,
        expired=expired,
        retried=retried,
        records=records,
    )


def _retry_deletions() -> int:
    """Ask AWS again for what it has refused so far."""
    being_asked = Operation.objects.filter(snapshot=OuterRef("pk")).exclude(
        phase=OperationPhase.CLOSED
    )
    # They were wanted away for a reason that may have spared no frozen ones.
    refused = wanted_away().filter(~Exists(being_asked))
    return deletions.request(deletions.choose(refused, spare_frozen=False))


def _forget_old_records() -> int:
    """Drop records that nothing can be recovered from, when they are old enough."""
    oldest = clock.now() - timedelta(days=_section()["keep_records_days"])
    left = live_snapshots().filter(backup=OuterRef("pk"))
    empty = Backup.objects.filter(~Exists(left), phase=BackupPhase.CLOSED, finished_at__lt=oldest)
    # Copies in S3 are worth the record.
    forgotten = empty.filter(s3_status__in=[CopyStatus.NONE, CopyStatus.DELETED, CopyStatus.FAILED])
    _, counts = forgotten.delete()
    return counts.get("cpm.Backup", 0)


def _section() -> dict[str, Any]:
    row = Setting.objects.filter(section=SECTION).values_list("value", flat=True).first()
    return {**DEFAULTS, **(row or {})}


def _note_time() -> None:
    row, _ = Setting.objects.get_or_create(section=SECTION)
    row.value = {**row.value, LAST: times.to_wire(clock.now())}
    row.save(update_fields=["value"])
