"""Deletes snapshots: decides which may go, asks for it in the background, or does it at once.

What AWS refuses stays wanted away, becomes one alert, and is asked for again by each cleanup.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter

from django.db import transaction
from django.db.models import F, Q, QuerySet

from cpm.engine import accounts, bulk, events, jobs, sharing, trail
from cpm.engine.deleted import archives, is_only_marked, live_snapshots, settle_emptied
from cpm.kernel import clock, times
from cpm.kernel.faults import Fault
from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupPhase, CopyStatus
from cpm.models.dr_copies import DrCopy, DrCopyPhase
from cpm.models.operations import Operation, OperationPhase
from cpm.models.policies import Policy
from cpm.models.recoveries import Recovery, RecoveryPhase
from cpm.models.s3_copies import S3Copy, S3CopyPhase
from cpm.models.snapshots import Snapshot
from cpm.models.users import User
from cpm.resources import registry
from cpm.resources.contract import Ask, SnapshotCollection

# Thousands of deletions take their turns in AWS's rate limit; what is left is cleanup's.
DEADLINE = timedelta(hours=24)
# The sweep defers the others: it does so anyway for whatever has no job.
_MOST_DEFERRED = 500
# How often a deletion that somebody waits for is sent, when AWS does not answer.
_ATTEMPTS = 2
_ONLY_MARKED = "its account forbids deleting: it is marked as expired instead"


class Kept(Exception):
    """The snapshot must not be deleted now; the text says why."""


class Shared(Exception):
    """Other records refer to the same copy in AWS."""


@dataclass(frozen=True)
class Choice:
    """A snapshot that was named for deletion, and why it is kept if it is."""

    snapshot: Snapshot
    kept_because: str | None


def of_backup(backup: Backup, *, with_s3: bool = False) -> list[Choice]:
    """All snapshots of a record; naming a frozen one is how one gives it up."""
    return choose(live_snapshots(with_s3=with_s3).filter(backup=backup), spare_frozen=False)


def of_policy(policy: Policy, *, with_s3: bool = False) -> list[Choice]:
    """All snapshots of a policy, but for frozen records."""
    return choose(live_snapshots(with_s3=with_s3).filter(backup__policy=policy))


def of_account(account: Account, *, with_s3: bool = False) -> list[Choice]:
    """All snapshots that an account holds, but for frozen records.

    Copies in S3 are those of its own resources, whichever account has the bucket.
    """
    its_own = Q(account=account) & ~Q(collection__in=archives())
    copies = Q(backup__account=account, collection__in=archives())
    return choose(live_snapshots(with_s3=with_s3).filter(its_own | copies))


def choose(snapshots: QuerySet[Snapshot], *, spare_frozen: bool = True) -> list[Choice]:
    """Sort out which of the snapshots may go."""
    # Many of few records and accounts: each of these is read once.
    rows = snapshots.prefetch_related("backup", "account").order_by("pk")
    needed = _needed(snapshots)
    return [
        Choice(snapshot, _why_kept(snapshot, needed, spare_frozen=spare_frozen))
        for snapshot in rows
    ]


def preview(choices: Sequence[Choice]) -> list[Choice]:
    """The same, with what stays in AWS although records give it up."""
    going = [choice.snapshot for choice in choices if choice.kept_because is None]
    marked = (snapshot.pk for snapshot in going if is_only_marked(snapshot))
    staying = sharing.why_they_stay(going) | dict.fromkeys(marked, _ONLY_MARKED)
    return [
        Choice(each.snapshot, each.kept_because or staying.get(each.snapshot.pk))
        for each in choices
    ]


@transaction.atomic
def request(choices: Iterable[Choice]) -> int:
    """Have those that may go deleted in the background; says how many that are."""
    chosen = [choice.snapshot.pk for choice in choices if choice.kept_because is None]
    claimed = _claim(Snapshot.objects.filter(pk__in=bulk.ids(chosen)))
    going = _retire_copies(sharing.let_go(claimed))
    Operation.objects.bulk_create(map(_operation, going), batch_size=500, ignore_conflicts=True)
    first = [snapshot.pk for snapshot in going[:_MOST_DEFERRED]]
    asked = Operation.objects.filter(snapshot__in=first)
    jobs.defer_operations(asked.exclude(phase=OperationPhase.CLOSED))
    return len(claimed)


def give_up_originals(originals: QuerySet[Snapshot], owner: User) -> None:
    """Have those deleted that their copies make superfluous, unless something needs them."""
    choices = choose(originals)
    for choice in choices:
        snapshot = choice.snapshot
        if choice.kept_because is None:
            events.log(
                "original_goes",
                backup=snapshot.backup,
                snapshot=snapshot.aws_ref,
                resource=snapshot.resource_id,
            )
    give_up(choices, owner, "copied, and not to be kept beside the copies")


@transaction.atomic
def give_up(choices: Sequence[Choice], owner: User, why: str) -> int:
    """Request them of the server's own accord, which the owner's trail says; how many those are."""
    records = {choice.snapshot.backup for choice in choices if choice.kept_because is None}
    described = ((str(backup), why) for backup in sorted(records, key=attrgetter("pk")))
    trail.record(owner, "delete snapshots of backup", described)
    return request(choices)


@transaction.atomic
def discard(backup: Backup) -> None:
    """Hide a record at once; it goes for good when AWS has let go of its snapshots."""
    locked = Backup.objects.select_for_update().get(pk=backup.pk)
    locked.discarded_at = clock.now()
    locked.retry_at = None
    locked.save(update_fields=["discarded_at", "retry_at"])
    request(of_backup(locked, with_s3=True))
    settle_emptied(locked)


@transaction.atomic
def claim(snapshot: Snapshot) -> None:
    """Mark one snapshot as wanted away, for `delete_in_aws`. Raises Kept, and Shared."""
    this = Snapshot.objects.filter(pk=snapshot.pk)
    (choice,) = choose(this, spare_frozen=False)
    if choice.kept_because is not None:
        raise Kept(choice.kept_because)
    if snapshot.aws_ref and not _claim(this):
        raise Kept("a recovery or a copy needs it")
    if snapshot.aws_ref and sharing.others_need(snapshot):
        raise Shared


def delete_in_aws(snapshot: Snapshot) -> None:
    """Delete a claimed snapshot while the caller waits, who then marks it deleted.

    It is safe to repeat: cleanup finishes what somebody who died meanwhile has begun. Raises Fault
    when AWS refuses; the caller then lets go of it.
    """
    if snapshot.aws_ref and not sharing.is_given(snapshot):
        _delete_now(snapshot)


def let_go(snapshot: Snapshot) -> None:
    """Want a snapshot away as little as before it was claimed."""
    this = Snapshot.objects.filter(pk=snapshot.pk)
    this.update(delete_requested_at=snapshot.delete_requested_at)


def _retire_copies(going: Iterable[Snapshot]) -> list[Snapshot]:
    """Have copies in S3 taken out of their archives; answers the others."""
    names = set(archives())
    others = [each for each in going if each.collection not in names]
    copies = S3Copy.objects.filter(
        snapshot__in=[each.pk for each in going if each.collection in names]
    )
    copies.update(due_at=clock.now(), version=F("version") + 1)
    jobs.defer_s3_copies(copies.values_list("pk", flat=True)[:_MOST_DEFERRED])
    return others


@transaction.atomic
def _claim(snapshots: QuerySet[Snapshot]) -> list[Snapshot]:
    """Mark snapshots as wanted away, but for those that something has come to need just now.

    Recoveries and copies lock their snapshots likewise, so that one of the two sees the other.
    """
    chosen = set(snapshots.values_list("pk", flat=True))
    rows = sharing.with_sharers(snapshots).select_related("account").order_by("pk")
    locked = rows.select_for_update(of=("self",))
    claimed = [snapshot for snapshot in locked if snapshot.pk in chosen]
    needed = _needed(snapshots)
    going = [snapshot for snapshot in claimed if snapshot.pk not in needed]
    unmarked = [snapshot.pk for snapshot in going if snapshot.delete_requested_at is None]
    Snapshot.objects.filter(pk__in=bulk.ids(unmarked)).update(delete_requested_at=clock.now())
    return going


def _delete_now(snapshot: Snapshot) -> None:
    driver, collection = registry.by_snapshot_collection(snapshot.collection)
    aws = accounts.aws_of(snapshot.account, snapshot.region)
    effect = driver.effect(_effect(snapshot, collection))
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            effect.start(aws, Ask(spec=_spec(snapshot), token="", marks={}))
        except Fault as fault:
            if attempt == _ATTEMPTS or not fault.worth_another_try:
                raise
        else:
            return


def _needed(snapshots: QuerySet[Snapshot]) -> dict[int, str]:
    """Those that a recovery starts from, or of which a copy is being made or goes on; and why."""
    recoveries = Recovery.objects.exclude(phase=RecoveryPhase.CLOSED)
    archiving = S3Copy.objects.exclude(phase=S3CopyPhase.CLOSED)
    compared = archiving.exclude(compared_with="").values("compared_with")
    copies = (
        snapshots.filter(dr_copies__in=DrCopy.objects.exclude(phase=DrCopyPhase.CLOSED)),
        snapshots.filter(s3_copies__in=archiving),
        snapshots.filter(aws_ref__in=compared),
    )
    by_copies = (pk for rows in copies for pk in rows.values_list("pk", flat=True))
    recovered = snapshots.filter(recoveries__in=recoveries).values_list("pk", flat=True)
    return dict.fromkeys(by_copies, "a copy needs it") | dict.fromkeys(
        recovered, "a recovery needs it"
    )


def _why_kept(snapshot: Snapshot, needed: Mapping[int, str], *, spare_frozen: bool) -> str | None:
    if snapshot.backup.phase != BackupPhase.CLOSED:
        return "its backup is under way"
    if CopyStatus.IN_PROGRESS in {snapshot.backup.dr_status, snapshot.backup.s3_status}:
        return "copies of its backup are under way"
    if snapshot.pk in needed:
        return needed[snapshot.pk]
    if spare_frozen and snapshot.backup.is_frozen:
        return "its backup is frozen"
    return None


def _operation(snapshot: Snapshot) -> Operation:
    driver, collection = registry.by_snapshot_collection(snapshot.collection)
    now = clock.now()
    return Operation(
        kind=driver.kind,
        effect=_effect(snapshot, collection),
        account_id=snapshot.account_id,
        region=snapshot.region,
        resource_id=snapshot.resource_id,
        snapshot=snapshot,
        spec=_spec(snapshot),
        created_at=now,
        due_at=now,
        deadline_at=now + DEADLINE,
    )


def _effect(snapshot: Snapshot, collection: SnapshotCollection) -> str:
    return collection.expire if is_only_marked(snapshot) else collection.delete


def _spec(snapshot: Snapshot) -> dict[str, object]:
    spec: dict[str, object] = {"aws_ref": snapshot.aws_ref, "facts": snapshot.facts}
    if is_only_marked(snapshot):
        spec["expired_at"] = times.to_wire(clock.now())
    return spec
