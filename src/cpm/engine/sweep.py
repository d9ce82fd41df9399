"""Finds what is due. Every open row has a due time, so nothing that this looks at is forgotten.

Work is normally deferred by whoever makes it; the sweep does it for what was to wait, for jobs that
were lost with the process that held them, and for nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from django.db import connection, transaction
from django.db.models import Manager, QuerySet

from cpm.engine import (
    agents,
    archive_care,
    cleanup,
    inventory,
    jobs,
    notices,
    set_back,
    summaries,
    tagscan,
)
from cpm.kernel import clock
from cpm.models.backups import Backup
from cpm.models.machines import WorkerMachine
from cpm.models.operations import Operation, OperationPhase
from cpm.models.policies import PolicySchedule
from cpm.models.recoveries import Recovery
from cpm.models.s3_copies import S3Copy, S3CopyPhase, S3CopyRange
from cpm.models.s3_restores import S3RestoreRange
from cpm.models.scripts import ScriptRun
from cpm.models.tagscan import TagScan
from cpm.models.users import User, UserKind

# More than a worker does in the second until the next sweep.
MOST_AT_ONCE = 500
# Any number that nothing else here uses: of all workers, one sweeps at a time.
_LOCK = 0x63706D01


def sweep(*, with_rounds: bool = True) -> None:
    """Defer a job for every row that is due and has none; also for what comes round, if wanted."""
    now = clock.now()
    # Mostly nothing is due, which one statement tells without a transaction.
    if not with_rounds and not _due(now):
        return
    with transaction.atomic():
        if not _is_ours():
            return
        if with_rounds:
            _begin_rounds(now)
        for name in _due(now):
            source = _SOURCES[name]
            source.defer(source.rows(now)[:MOST_AT_ONCE])


def _is_ours() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        (got,) = cursor.fetchone()
    return bool(got)


def _begin_rounds(now: datetime) -> None:
    set_back.look(now)
    if cleanup.is_due(now):
        jobs.defer_cleanup()
    if inventory.is_due(now):
        jobs.START_INVENTORY.defer("inventory")
    if agents.is_due(now):
        jobs.LIST_AGENTS.defer("agents")
    tagscan.tick(now)
    archive_care.tick(now)


def _due(now: datetime) -> list[str]:
    """Of what there is something due; mostly of nothing, which one statement tells."""
    statement, parameters = _what_is_due()
    with connection.cursor() as cursor:
        cursor.execute(statement, {**parameters, _NOW: now})
        return [name for (name,) in cursor.fetchall()]


# What is due at a time.
Rows = Callable[[datetime], QuerySet[Any, Any]]


@dataclass(frozen=True)
class Source:
    """What is due at a time, and how jobs for it are deferred."""

    rows: Rows
    defer: Callable[[QuerySet[Any, Any]], None]


def _ids(manager: Manager[Any], column: str = "due_at") -> Rows:
    """The rows whose time has come, the longest overdue first."""

    def rows(now: datetime) -> QuerySet[Any, Any]:
        due = manager.filter(**{f"{column}__lte": now})
        return due.order_by(column).values_list("pk", flat=True)

    return rows


def _policies(now: datetime) -> QuerySet[Any, Any]:
    due = PolicySchedule.objects.filter(next_run_at__lte=now)
    return due.values_list("policy", flat=True).distinct()


def _watches(now: datetime) -> QuerySet[Any, Any]:
    started = Operation.objects.filter(phase=OperationPhase.STARTED, due_at__lte=now)
    return started.values_list("account", "region", "watch").distinct()


def _removals(_now: datetime) -> QuerySet[Any, Any]:
    return User.objects.filter(kind=UserKind.GONE).values_list("pk", flat=True)


def _operations(now: datetime) -> QuerySet[Any, Any]:
    phases = [OperationPhase.PLANNED, OperationPhase.STARTING]
    return Operation.objects.filter(phase__in=phases, due_at__lte=now).order_by("due_at")


def _s3_ranges(now: datetime) -> QuerySet[Any, Any]:
    due = S3CopyRange.objects.filter(due_at__lte=now, copy__phase=S3CopyPhase.RUNNING)
    return due.order_by("pk").values_list("pk", flat=True)


# In the order of their jobs.
_SOURCES: Mapping[str, Source] = {
    "scans": Source(_ids(TagScan.objects), jobs.defer_scans),
    "policies": Source(_policies, jobs.defer_policies),
    "recoveries": Source(_ids(Recovery.objects), jobs.defer_recoveries),
    "restores": Source(_ids(S3RestoreRange.objects), jobs.defer_restore_ranges),
    "watches": Source(_watches, jobs.defer_watches),
    "backups": Source(_ids(Backup.objects), jobs.defer_backups),
    "scripts": Source(_ids(ScriptRun.objects), jobs.defer_scripts),
    "dr": Source(_ids(Backup.objects, "dr_due_at"), jobs.defer_dr),
    "s3": Source(_ids(Backup.objects, "s3_due_at"), jobs.defer_s3),
    "s3_copies": Source(_ids(S3Copy.objects), jobs.defer_s3_copies),
    "s3_ranges": Source(_s3_ranges, jobs.defer_s3_ranges),
    "retries": Source(_ids(Backup.objects, "retry_at"), jobs.defer_retries),
    "notices": Source(notices.due, jobs.defer_notices),
    "summaries": Source(summaries.due, jobs.defer_summaries),
    "machines": Source(_ids(WorkerMachine.objects), jobs.defer_machines),
    "removals": Source(_removals, jobs.defer_removals),
    "operations": Source(_operations, jobs.defer_operations),
}

# Stands for the time of a sweep in the statement, which is made once.
_SOME_TIME = datetime(1999, 12, 31, tzinfo=UTC)
_NOW = "now"


@cache
def _what_is_due() -> tuple[str, Mapping[str, Any]]:
    """A statement that names the sources of which there are rows, and its parameters.

    Each is there once: to write the same time into it for each source took longer than all else
    that a sweep does when nothing is due.
    """
    parts: list[str] = []
    # True is 1 as well, and another parameter all the same.
    names: dict[tuple[type, Any], str] = {(datetime, _SOME_TIME): _NOW}
    for name, source in _SOURCES.items():
        due = source.rows(_SOME_TIME).order_by().values("pk")
        rows, parameters = due.query.sql_with_params()
        its_names = [names.setdefault((type(each), each), f"p{len(names)}") for each in parameters]
        exists = rows % tuple(f"%({each})s" for each in its_names)
        parts.append(f"SELECT '{name}' WHERE EXISTS ({exists})")
    return " UNION ALL ".join(parts), {name: value for (_, value), name in names.items()}
