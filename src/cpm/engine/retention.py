"""Generations: which backups of a policy lose their snapshots (see `cpm.kernel.retention`).

What is decided here, records show: `cpm.queries.retention` says the same of each in SQL.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from cpm.engine import cleanup_log, deletions, events, jobs, s3_retention
from cpm.engine.deleted import kept_snapshots
from cpm.kernel import retention
from cpm.kernel.retention import Decision, Reason, Record
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, CopyStatus
from cpm.models.policies import Policy
from cpm.models.recoveries import Recovery, RecoveryPhase
from cpm.models.snapshots import Snapshot

_UNDER_WAY = CopyStatus.IN_PROGRESS
# DR that is under way or went wrong: the backup is no full success (yet).
DR_OPEN = (_UNDER_WAY, CopyStatus.PARTIAL, CopyStatus.FAILED)

# How the cleanup log says why a record keeps its snapshots.
_KEPT = {
    Reason.FROZEN: "kept_frozen",
    Reason.GENERATION: "kept_generation",
    Reason.NOT_YET_OLD: "kept_not_yet_old",
    Reason.IN_PROGRESS: "kept_in_progress",
}


@jobs.APPLY_RETENTION.runs
def apply(policy_id: int) -> int:
    """Have the snapshots deleted that the policy does not keep any longer; says how many."""
    policy = Policy.objects.select_related("user").filter(pk=policy_id).first()
    if policy is None:
        return 0
    decisions = decide(policy)
    _tell_kept(policy, decisions)
    expired = [decision.record_id for decision in decisions if decision.expires]
    choices = deletions.choose(kept_snapshots().filter(backup__in=expired))
    with transaction.atomic():
        _tell_expired([choice.snapshot for choice in choices if choice.kept_because is None])
        why = f"beyond the {policy.generations} generations of policy {policy.name}"
        going = deletions.give_up(choices, policy.user, why)
    return going + s3_retention.apply(policy)


def _tell_kept(policy: Policy, decisions: Iterable[Decision]) -> None:
    kept: dict[str, list[int]] = defaultdict(list)
    for decision in decisions:
        # Of one that is still being made there is nothing to say yet.
        is_news = decision.reason is not Reason.IN_PROGRESS or not decision.expires_after
        if decision.kept and is_news:
            kept[_KEPT[decision.reason]].append(decision.record_id)
    for code, ids in kept.items():
        cleanup_log.tell(code, ids, generations=policy.generations)


def _tell_expired(going: Sequence[Snapshot]) -> None:
    events.log_all(
        events.event(
            "snapshot_expired",
            backup=snapshot.backup,
            snapshot=snapshot.aws_ref,
            resource=snapshot.resource_id,
        )
        for snapshot in going
    )
    for backup_id, count in Counter(snapshot.backup_id for snapshot in going).items():
        cleanup_log.tell("record_expired", [backup_id], snapshots=count)


def decide(policy: Policy) -> list[Decision]:
    """What becomes of each record of the policy, and why."""
    return retention.decide(_records(policy), policy.generations)


def _records(policy: Policy) -> Iterator[Record]:
    this = OuterRef("pk")
    recoveries = Recovery.objects.filter(backup=this).exclude(phase=RecoveryPhase.CLOSED)
    is_needed = Q(Exists(recoveries)) | Q(dr_status=_UNDER_WAY) | Q(s3_status=_UNDER_WAY)
    found = Backup.objects.filter(policy=policy, discarded_at=None).values(
        "id",
        "run",
        "started_at",
        "is_frozen",
        is_fully_successful=Q(outcome=BackupOutcome.SUCCEEDED) & ~Q(dr_status__in=DR_OPEN),
        is_open=~Q(phase=BackupPhase.CLOSED),
        is_in_progress=is_needed,
        has_snapshots=Exists(kept_snapshots().filter(backup=this)),
    )
    return (Record(**row) for row in found)
