"""How long records keep their snapshots, told record by record.

What is decided is in `cpm.kernel.retention`, and the engine acts on it policy by policy. A list
shows records of any policies, so here the database counts for each record how many generations
are newer, and stops at as many as its policy keeps.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BigIntegerField,
    BooleanField,
    Case,
    Exists,
    Func,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.sql.compiler import SQLCompiler

from cpm.engine.deleted import archives, kept_snapshots
from cpm.engine.retention import DR_OPEN
from cpm.kernel.retention import Reason
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, CopyStatus
from cpm.models.recoveries import Recovery, RecoveryPhase

# What decides about a record, in the order of `outlook`.
COLUMNS = (
    *("phase", "is_needed", "is_frozen", "has_snapshots"),
    *("policy__generations", "is_generation", "newer_generations"),
)

# The reason that the kernel does not know: nobody counts generations any longer.
NO_POLICY = "no_policy"

# What no policy has as its number of generations.
_MORE_THAN_KEPT = 32_768


class Outlook(NamedTuple):
    """What becomes of a record's snapshots.

    `expires_after` is how many further full successes of its policy it takes until they go; None
    where generations have no say.
    """

    kept: bool
    reason: str
    expires_after: int | None = None


def outlook(standing: Sequence[Any]) -> Outlook:
    """What becomes of a record's snapshots, by what `COLUMNS` say of it."""
    phase, is_needed, is_frozen, has_snapshots, generations, is_generation, newer = standing
    is_open = phase != BackupPhase.CLOSED
    if not has_snapshots and not is_open:
        return Outlook(False, Reason.NO_SNAPSHOTS)
    if is_frozen:
        return Outlook(True, Reason.FROZEN)
    if generations is None:
        return Outlook(True, NO_POLICY)
    left = max(generations - newer, 0)
    if is_open or (is_needed and not left):
        return Outlook(True, Reason.IN_PROGRESS, left)
    if not left:
        return Outlook(False, Reason.EXPIRED, 0)
    return Outlook(True, Reason.GENERATION if is_generation else Reason.NOT_YET_OLD, left)


def annotated(rows: QuerySet[Backup], *, many: bool = False) -> QuerySet[Backup]:
    """The records, with what decides about them.

    For `many` the oldest generation of every policy is found first, and nothing is counted for
    the records before it.
    """
    kept = Exists(kept_snapshots().filter(backup=OuterRef("pk")))
    recovered = Q(pk__in=Recovery.objects.exclude(phase=RecoveryPhase.CLOSED).values("backup"))
    copied = Q(dr_status=CopyStatus.IN_PROGRESS) | Q(s3_status=CopyStatus.IN_PROGRESS)
    long_ago = [When(pk__lt=_OldestKept("policy_id"), then=Value(_MORE_THAN_KEPT))]
    return rows.annotate(
        has_snapshots=kept,
        is_needed=copied | recovered,
        is_generation=_first_that_holds(
            When(outcome=BackupOutcome.SUCCEEDED, then=~Q(dr_status__in=DR_OPEN)),
            default=_CompletesRun("run"),
        ),
        newer_generations=Case(
            When(Q(outcome=BackupOutcome.DELETED) & ~kept, then=Value(0)),
            *(long_ago if many else ()),
            default=_NewerGenerations("policy_id", "pk", "run"),
            output_field=IntegerField(),
        ),
    )


def _first_that_holds(*cases: When, default: Any) -> Case:
    return Case(*cases, default=default, output_field=BooleanField())


# A run has one record of full success at most, so these records stand for the complete runs. They
# are successes as long as anything is left of them; those of which all is wanted away are few, and
# PostgreSQL finds them once for a statement.
_ARCHIVES = ", ".join(f"'{name}'" for name in archives())
_COMPLETE = f"""
    generation.outcome = 'B' AND NOT generation.is_frozen AND generation.discarded_at IS NULL
    AND generation.dr_status IN ('N', 'S', 'D')
    AND generation.id NOT IN (
        SELECT going.backup_id FROM cpm_snapshot AS going
        WHERE going.delete_requested_at IS NOT NULL AND going.status <> 'D'
        AND NOT EXISTS (
            SELECT FROM cpm_snapshot AS kept WHERE kept.backup_id = going.backup_id
            AND kept.status <> 'D' AND kept.aws_ref <> '' AND kept.delete_requested_at IS NULL
            AND kept.collection NOT IN ({_ARCHIVES})
        )
    )
"""  # noqa: S608 - no part of it comes from outside
_GENERATIONS = f"""
    SELECT generation.id FROM cpm_backup AS generation
    WHERE generation.policy_id = {{policy}} AND {_COMPLETE}
"""  # noqa: S608 - no part of it comes from outside


class _OfColumns(Func):
    """SQL with places for columns, each of which may be needed anywhere in it."""

    places: tuple[str, ...] = ()

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,  # noqa: ARG002 - Django's signature
        *_: Any,
        **__: Any,
    ) -> tuple[str, tuple[str, ...]]:
        """See `Func`."""
        columns = (compiler.compile(each)[0] for each in self.source_expressions)
        return self.template.format(**dict(zip(self.places, columns, strict=True))), ()


class _CompletesRun(_OfColumns):
    """Whether a retry of the run has completed it."""

    places = ("run",)
    template = f"""EXISTS (
        SELECT FROM cpm_backup AS generation
        WHERE generation.run = {{run}} AND generation.attempt > 0 AND {_COMPLETE}
    )"""
    output_field = BooleanField()


class _NewerGenerations(_OfColumns):
    """How many complete runs of the policy have begun since, counted no further than it keeps.

    What it keeps is looked up here: a join would be there as well when records are only counted.
    """

    places = ("policy", "backup", "run")
    template = f"""(
        SELECT count(*) FROM (
            {_GENERATIONS} AND generation.id > {{backup}} AND generation.run <> {{run}}
            LIMIT (SELECT generations FROM cpm_policy AS policy WHERE policy.id = {{policy}})
        ) AS newer
    )"""  # noqa: S608 - no part of it comes from outside
    output_field = IntegerField()


class _OldestKept(_OfColumns):
    """A record of the policy before which nothing is kept; null where there is no such record.

    It is looked up in an object of all policies, which PostgreSQL makes once for a statement.
    """

    places = ("policy",)
    template = f"""((
        SELECT jsonb_object_agg(policy.id, (
            {_GENERATIONS.format(policy="policy.id")}
            ORDER BY generation.id DESC OFFSET policy.generations LIMIT 1
        )) FROM cpm_policy AS policy
    ) -> {{policy}}::text)::bigint"""  # noqa: S608 - no part of it comes from outside
    output_field = BigIntegerField()
