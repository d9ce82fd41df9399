"""How long records keep their snapshots, told record by record.

What is decided is in `cpm.kernel.retention`, and the engine acts on it policy by policy. A list
shows records of any policies, so here the database counts for each record how many generations
are newer, and stops at as many as its policy keeps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BooleanField,
    Case,
    Exists,
    Func,
    IntegerField,
    OuterRef,
    QuerySet,
    Value,
    When,
)
from django.db.models.sql.compiler import SQLCompiler

from cpm.engine.deleted import live_snapshots
from cpm.kernel.retention import Reason
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, CopyStatus

# What decides about a record, in the order of `outlook`.
COLUMNS = (
    *("phase", "retry_at", "is_frozen", "has_snapshots"),
    *("policy__generations", "is_generation", "newer_generations"),
)

# The reason that the kernel does not know: nobody counts generations any longer.
NO_POLICY = "no_policy"

_COMPLETE_COPIES = (CopyStatus.NONE, CopyStatus.SUCCEEDED, CopyStatus.DELETED)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What becomes of a record's snapshots.

    `expires_after` is how many further full successes of its policy it takes until they go; None
    where generations have no say.
    """

    kept: bool
    reason: str
    expires_after: int | None = None


def outlook(standing: Sequence[Any]) -> Outlook:
    """What becomes of a record's snapshots, by what `COLUMNS` say of it."""
    phase, retry_at, is_frozen, has_snapshots, generations, is_generation, newer = standing
    is_open = phase != BackupPhase.CLOSED
    if not has_snapshots and not is_open:
        return Outlook(False, Reason.NO_SNAPSHOTS)
    if is_frozen:
        return Outlook(True, Reason.FROZEN)
    if generations is None:
        return Outlook(True, NO_POLICY)
    left = max(generations - newer, 0)
    if is_open or (retry_at is not None and not left):
        return Outlook(True, Reason.IN_PROGRESS, left)
    if not left:
        return Outlook(False, Reason.EXPIRED, 0)
    return Outlook(True, Reason.GENERATION if is_generation else Reason.NOT_YET_OLD, left)


def annotated(rows: QuerySet[Backup]) -> QuerySet[Backup]:
    """The records, with what decides about them."""
    live = live_snapshots().filter(backup=OuterRef("pk"))
    retried_well = Backup.objects.filter(
        run=OuterRef("run"), attempt__gt=0, outcome=BackupOutcome.SUCCEEDED
    )
    return rows.annotate(
        # Of a success nothing need be looked up: it is marked deleted with its last snapshot.
        has_snapshots=_first_that_holds(
            When(outcome__in=(BackupOutcome.SUCCEEDED, BackupOutcome.PARTIAL), then=Value(True)),
            When(outcome=BackupOutcome.DELETED, then=Value(False)),
            default=Exists(live),
        ),
        is_generation=_first_that_holds(
            When(outcome=BackupOutcome.SUCCEEDED, then=Value(True)),
            When(outcome=BackupOutcome.PARTIAL, then=Exists(retried_well)),
            default=Value(False),
        ),
        newer_generations=Case(
            When(outcome=BackupOutcome.DELETED, then=Value(0)),
            default=_NewerGenerations("policy_id", "pk", "run", "policy__generations"),
        ),
    )


def _first_that_holds(*cases: When, default: Any) -> Case:
    return Case(*cases, default=default, output_field=BooleanField())


class _NewerGenerations(Func):
    """How many complete runs of the policy have begun since, counted no further than it keeps."""

    template = """(
        SELECT count(*) FROM (
            SELECT 1 FROM cpm_backup AS newer
            WHERE newer.policy_id = {policy} AND newer.id > {backup} AND newer.run <> {run}
            AND newer.outcome = 'B' AND NOT newer.is_frozen AND newer.discarded_at IS NULL
            AND newer.dr_status IN ({copies})
            LIMIT {generations}
        ) AS counted
    )"""
    output_field = IntegerField()

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,  # noqa: ARG002 - Django's signature
        *_: Any,
        **__: Any,
    ) -> tuple[str, tuple[str, ...]]:
        """See `Func`; each column stands where the statement needs it."""
        policy, backup, run, generations = (
            compiler.compile(each)[0] for each in self.source_expressions
        )
        sql = self.template.format(
            policy=policy,
            backup=backup,
            run=run,
            generations=generations,
            copies=", ".join(["%s"] * len(_COMPLETE_COPIES)),
        )
        return sql, _COMPLETE_COPIES
