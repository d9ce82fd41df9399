"""Finds what is due. Every open row has a due time, so nothing that this looks at is forgotten.

Work is normally deferred by whoever makes it; the sweep does it for what was to wait, for jobs that
were lost with the process that held them, and for nothing else.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

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


def sweep(*, with_rounds: bool = True) -> None:
    """Defer a job for every row that is due and has none; also for what comes round, if wanted."""
    with transaction.atomic():
        if not _is_ours():
            return
        now = clock.now()
        if with_rounds:
            _begin_rounds(now)
        for name in _due(now):
            _SOURCES[name][1](now)


def _is_ours() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        (got,) = cursor.fetchone()
    return bool(got)


def _begin_rounds(now: datetime) -> None:
    if cleanup.is_due(now):
        jobs.defer_cleanup()
    if inventory.is_due(now):
        jobs.START_INVENTORY.defer("inventory")
    if agents.is_due(now):
        jobs.LIST_AGENTS.defer("agents")
    tagscan.tick(now)


def _due(now: datetime) -> list[str]:
    """Of what there is something due; mostly of nothing, which one statement tells."""
    with connection.cursor() as cursor:
        cursor.execute(_WHAT_IS_DUE, {"now": now})
        return [name for (name,) in cursor.fetchall()]


def _defer_scans(now: datetime) -> None:
    due = TagScan.objects.filter(due_at__lte=now)
    jobs.defer_scans(due.values_list("pk", flat=True)[:MOST_AT_ONCE])


def _defer_policies(now: datetime) -> None:
    due = PolicySchedule.objects.filter(next_run_at__lte=now)
    jobs.defer_policies(due.values_list("policy", flat=True).distinct()[:MOST_AT_ONCE])


def _defer_recoveries(now: datetime) -> None:
    due = Recovery.objects.filter(due_at__lte=now).order_by("due_at")
    jobs.defer_recoveries(due.values_list("pk", flat=True)[:MOST_AT_ONCE])


def _defer_watches(now: datetime) -> None:
    started = Operation.objects.filter(phase=OperationPhase.STARTED, due_at__lte=now)
    jobs.defer_watches(started.values_list("account", "region", "watch").distinct())


def _defer_backups(now: datetime) -> None:
    due = Backup.objects.filter(due_at__lte=now).order_by("due_at")
    jobs.defer_backups(due.values_list("pk", flat=True)[:MOST_AT_ONCE])


def _defer_scripts(now: datetime) -> None:
    due = ScriptRun.objects.filter(due_at__lte=now).order_by("due_at")
    jobs.defer_scripts(due.values_list("pk", flat=True)[:MOST_AT_ONCE])


def _defer_dr(now: datetime) -> None:
    due = Backup.objects.filter(dr_due_at__lte=now).order_by("dr_due_at")
    jobs.defer_dr(due.values_list("pk", flat=True)[:MOST_AT_ONCE])


def _defer_retries(now: datetime) -> None:
    due = Backup.objects.filter(retry_at__lte=now).order_by("retry_at")
    jobs.defer_retries(due.values_list("pk", flat=True)[:MOST_AT_ONCE])


def _defer_notices(now: datetime) -> None:
    jobs.defer_notices(notices.due(now)[:MOST_AT_ONCE])


def _defer_summaries(now: datetime) -> None:
    jobs.defer_summaries(summaries.due(now)[:MOST_AT_ONCE])


def _defer_removals(_now: datetime) -> None:
    gone = User.objects.filter(kind=UserKind.GONE)
    jobs.defer_removals(gone.values_list("pk", flat=True))


def _defer_operations(now: datetime) -> None:
    phases = [OperationPhase.PLANNED, OperationPhase.STARTING]
    due = Operation.objects.filter(phase__in=phases, due_at__lte=now).order_by("due_at")
    jobs.defer_operations(due.only("recovery", "snapshot")[:MOST_AT_ONCE])


# The rows that are due, as SQL has them, and what is done about them; in the order of their jobs.
_SOURCES: Mapping[str, tuple[str, Callable[[datetime], None]]] = {
    "scans": ("cpm_tagscan WHERE due_at <= %(now)s", _defer_scans),
    "policies": ("cpm_policyschedule WHERE next_run_at <= %(now)s", _defer_policies),
    "recoveries": ("cpm_recovery WHERE due_at <= %(now)s", _defer_recoveries),
    "watches": ("cpm_operation WHERE phase = 'started' AND due_at <= %(now)s", _defer_watches),
    "backups": ("cpm_backup WHERE due_at <= %(now)s", _defer_backups),
    "scripts": ("cpm_scriptrun WHERE due_at <= %(now)s", _defer_scripts),
    "dr": ("cpm_backup WHERE dr_due_at <= %(now)s", _defer_dr),
    "retries": ("cpm_backup WHERE retry_at <= %(now)s", _defer_retries),
    "deliveries": ("cpm_delivery WHERE due_at <= %(now)s", _defer_notices),
    "notices": ("cpm_notice WHERE due_at <= %(now)s", _defer_notices),
    "summaries": ("cpm_user WHERE summary_due_at <= %(now)s", _defer_summaries),
    "removals": (f"cpm_user WHERE kind = '{UserKind.GONE.value}'", _defer_removals),
    "operations": (
        "cpm_operation WHERE phase IN ('planned', 'starting') AND due_at <= %(now)s",
        _defer_operations,
    ),
}
# Only text of this module goes into the statement.
_WHAT_IS_DUE = " UNION ALL ".join(
    f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {rows})"  # noqa: S608
    for name, (rows, _) in _SOURCES.items()
)
