"""Generations: which backups of a policy lose their snapshots (see `cpm.kernel.retention`).

A generation is a run: a record and the retries that completed it. The partial original is needed
as long as they are, so a run's records are kept, and go, together.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef

from cpm.engine import deletions, events, jobs
from cpm.engine.deleted import live_snapshots
from cpm.kernel import retention
from cpm.kernel.retention import Decision, Reason, Record
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, CopyStatus
from cpm.models.policies import Policy
from cpm.models.recoveries import Recovery, RecoveryPhase

# DR that is under way or went wrong: the backup is no full success (yet).
_DR_OPEN = frozenset({CopyStatus.IN_PROGRESS, CopyStatus.PARTIAL, CopyStatus.FAILED})


@jobs.APPLY_RETENTION.runs
def apply(policy_id: int) -> int:
    """Have the snapshots deleted that the policy does not keep any longer; says how many."""
    policy = Policy.objects.filter(pk=policy_id).first()
    if policy is None:
        return 0
    expired = [decision.record_id for decision in decide(policy) if decision.expires]
    wanted = live_snapshots().filter(backup__in=expired, delete_requested_at=None)
    choices = deletions.choose(wanted)
    going = [choice.snapshot for choice in choices if choice.kept_because is None]
    for snapshot in going:
        events.log(
            "snapshot_expired",
            backup=snapshot.backup,
            snapshot=snapshot.aws_ref,
            resource=snapshot.resource_id,
        )
    return deletions.request(choices)


def decide(policy: Policy) -> list[Decision]:
    """What becomes of each record of the policy, and why."""
    runs: dict[UUID, list[_Member]] = defaultdict(list)
    for member in _members(policy):
        runs[member.run].append(member)
    by_first = {members[0].id: members for members in runs.values()}
    decisions = retention.decide(map(_generation, by_first.values()), policy.generations)
    return [
        each
        for decision in decisions
        for each in _for_each_record(decision, by_first[decision.record_id])
    ]


@dataclass(frozen=True)
class _Member:
    """One record of a run, as far as it matters here."""

    id: int
    run: UUID
    started_at: datetime
    phase: str
    outcome: str
    retry_at: datetime | None
    dr_status: str
    s3_status: str
    is_frozen: bool
    has_snapshots: bool
    is_needed: bool

    @property
    def is_in_progress(self) -> bool:
        """Whether something is going on that needs its snapshots."""
        return (
            self.phase != BackupPhase.CLOSED
            or self.retry_at is not None
            or CopyStatus.IN_PROGRESS in {self.dr_status, self.s3_status}
            or self.is_needed
        )


def _members(policy: Policy) -> Iterator[_Member]:
    this = OuterRef("pk")
    kept = live_snapshots().filter(backup=this, delete_requested_at=None)
    recoveries = Recovery.objects.filter(backup=this).exclude(phase=RecoveryPhase.CLOSED)
    found = {"has_snapshots": Exists(kept), "is_needed": Exists(recoveries)}
    columns = [each.name for each in fields(_Member) if each.name not in found]
    records = Backup.objects.filter(policy=policy, discarded_at=None).order_by("pk")
    return (_Member(**row) for row in records.values(*columns, **found))


def _generation(members: list[_Member]) -> Record:
    """A run as the rules see it: as old as its first record, as good as its last."""
    return Record(
        id=members[0].id,
        started_at=members[0].started_at,
        is_fully_successful=_is_complete(members),
        is_frozen=any(member.is_frozen for member in members),
        is_in_progress=any(member.is_in_progress for member in members),
        has_snapshots=any(member.has_snapshots for member in members),
    )


def _is_complete(members: list[_Member]) -> bool:
    """Whether everything was protected in the end, and copied where it was to be copied."""
    return any(member.outcome == BackupOutcome.SUCCEEDED for member in members) and not any(
        member.dr_status in _DR_OPEN for member in members
    )


def _for_each_record(decision: Decision, members: Iterable[_Member]) -> Iterator[Decision]:
    for member in members:
        if member.has_snapshots:
            yield replace(decision, record_id=member.id)
        else:
            yield Decision(member.id, Reason.NO_SNAPSHOTS, None)
