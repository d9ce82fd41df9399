"""Finds what is due. Every open row has a due time, so nothing that this looks at is forgotten.

Work is normally deferred by whoever makes it; the sweep does it for what was to wait, for jobs that
were lost with the process that held them, and for nothing else.
"""

from django.db import connection, transaction

from cpm.engine import agents, cleanup, inventory, jobs, notices, summaries, tagscan
from cpm.kernel import clock
from cpm.models.backups import Backup
from cpm.models.operations import Operation, OperationPhase
from cpm.models.policies import PolicySchedule
from cpm.models.recoveries import Recovery
from cpm.models.scripts import ScriptRun
from cpm.models.tagscan import TagScan
from cpm.models.users import User, UserKind

# More than a worker does in the second until the next sweep.
MOST_AT_ONCE = 500
# Any number that nothing else here uses: of all workers, one sweeps at a time.
_LOCK = 0x63706D01


def sweep() -> None:
    """Defer a job for every row that is due and has none."""
    with transaction.atomic():
        if _is_ours():
            _sweep()


def _is_ours() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        (got,) = cursor.fetchone()
    return bool(got)


def _sweep() -> None:
    now = clock.now()
    if cleanup.is_due(now):
        jobs.defer_cleanup()
    if inventory.is_due(now):
        jobs.START_INVENTORY.defer("inventory")
    if agents.is_due(now):
        jobs.LIST_AGENTS.defer("agents")
    tagscan.tick(now)
    due = {"due_at__lte": now}
    jobs.defer_scans(TagScan.objects.filter(**due).values_list("pk", flat=True)[:MOST_AT_ONCE])
    links = PolicySchedule.objects.filter(next_run_at__lte=now)
    jobs.defer_policies(links.values_list("policy", flat=True).distinct()[:MOST_AT_ONCE])
    recoveries = Recovery.objects.filter(**due).order_by("due_at")
    jobs.defer_recoveries(recoveries.values_list("pk", flat=True)[:MOST_AT_ONCE])
    started = Operation.objects.filter(phase=OperationPhase.STARTED, **due)
    jobs.defer_watches(started.values_list("account", "region", "watch").distinct())
    backups = Backup.objects.filter(**due).order_by("due_at")
    jobs.defer_backups(backups.values_list("pk", flat=True)[:MOST_AT_ONCE])
    scripts = ScriptRun.objects.filter(**due).order_by("due_at")
    jobs.defer_scripts(scripts.values_list("pk", flat=True)[:MOST_AT_ONCE])
    copied = Backup.objects.filter(dr_due_at__lte=now).order_by("dr_due_at")
    jobs.defer_dr(copied.values_list("pk", flat=True)[:MOST_AT_ONCE])
    retries = Backup.objects.filter(retry_at__lte=now).order_by("retry_at")
    jobs.defer_retries(retries.values_list("pk", flat=True)[:MOST_AT_ONCE])
    jobs.defer_notices(notices.due(now)[:MOST_AT_ONCE])
    jobs.defer_summaries(summaries.due(now)[:MOST_AT_ONCE])
    gone = User.objects.filter(kind=UserKind.GONE)
    jobs.defer_removals(gone.values_list("pk", flat=True))
    asking = Operation.objects.filter(
        phase__in=[OperationPhase.PLANNED, OperationPhase.STARTING], **due
    )
    jobs.defer_operations(asking.order_by("due_at")[:MOST_AT_ONCE])
