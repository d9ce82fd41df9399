"""Disaster recovery of runs: when one is copied to other regions and accounts, and how that ends.

A run is copied when all its attempts are over. Its last record has the copies in its charge, and
all its records that have copies tell of them together. The rules are in
docs/design/disaster-recovery.md.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef

from cpm.engine import (
    backup_alerts,
    bulk,
    deletions,
    dr_copies,
    events,
    jobs,
    transitions,
    undoing,
)
from cpm.engine.copies import status_of
from cpm.engine.deleted import live_snapshots, shared_collections
from cpm.engine.queue import Overtaken
from cpm.kernel import clock, regions
from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupOutcome, CopyOutcome, CopyStatus
from cpm.models.dr_copies import DrCopy, DrCopyPhase
from cpm.models.operations import Operation
from cpm.models.policies import Policy
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.resources import registry
from cpm.resources.contract import SnapshotCollection

# A run is woken when something happens to its copies; this is when it looks whether it was
# forgotten, and tries again what could not be planned.
IDLE = timedelta(minutes=1)
# How often the log tells how far it is.
_PROGRESS_LINES = 10
_ROWS_PER_INSERT = 500


def begin(backup: Backup, policy: Policy) -> None:
    """Have the run that ends with this backup copied, if that is due; the policy is locked."""
    if backup.retry_at is not None or not policy.dr_enabled:
        return
    is_due = policy.dr_successes % policy.dr_frequency == 0
    if backup.outcome == BackupOutcome.SUCCEEDED:
        # What was protected in part is copied when that is due, but the next run still has to be.
        Policy.objects.filter(pk=policy.pk).update(dr_successes=F("dr_successes") + 1)
    copies = list(_wishes(backup, policy)) if is_due else []
    if not copies:
        return
    DrCopy.objects.bulk_create(copies, batch_size=_ROWS_PER_INSERT)
    earlier = {copy.original.backup_id for copy in copies} - {backup.pk}
    Backup.objects.filter(pk__in=earlier).update(dr_status=CopyStatus.IN_PROGRESS)
    transitions.change(backup, dr_status=CopyStatus.IN_PROGRESS, dr_due_at=clock.now())
    places = sorted({f"{copy.region} ({copy.account})" for copy in copies})
    events.log("dr_started", backup=backup, copies=len(copies), places=", ".join(places))
    jobs.defer_dr([backup.pk])


@jobs.LOOK_AT_DR.runs
def look(backup_id: int) -> None:
    """Take the copies of a run that are due one step further."""
    due = Backup.objects.filter(pk=backup_id, dr_due_at__lte=clock.now())
    backup = bulk.one(due.select_related("policy__user", "user"))
    if backup is None:
        return
    before = _phases(backup)
    if before[DrCopyPhase.PLANNED]:
        dr_copies.plan(backup)
    dr_copies.settle(backup)
    now = _phases(backup)
    if now[DrCopyPhase.CLOSED] == now.total():
        _finish(backup)
    else:
        _tell_progress(backup, before, now)
        transitions.change(backup, dr_due_at=clock.now() + IDLE)


@jobs.LOOK_AT_DR.gives_up
def give_up(backup_id: int) -> None:
    """End copies at which our own code fails again and again."""
    backup = Backup.objects.select_related("policy__user", "user").filter(pk=backup_id).first()
    if backup is not None and backup.dr_due_at is not None:
        dr_copies.give_up(backup)
        _finish(backup)


def _wishes(backup: Backup, policy: Policy) -> Iterator[DrCopy]:
    """Every good snapshot of the run, in every place where there is to be a copy."""
    collections = _copied_collections()
    originals = Snapshot.objects.filter(
        backup__run=backup.run,
        backup__discarded_at=None,
        collection__in=collections,
        status=SnapshotStatus.SUCCEEDED,
        delete_requested_at=None,
    ).exclude(account=None)
    # Locked, so that nobody deletes one before it is known to be needed.
    locked = originals.select_related("account").select_for_update(of=("self",)).order_by("pk")
    deadline_at = clock.now() + timedelta(hours=policy.dr_timeout_hours)
    for original in locked:
        for account, region in _places(policy, original, collections[original.collection]):
            yield DrCopy(
                backup=backup,
                original=original,
                account=account,
                region=region,
                sharing_key=policy.dr_sharing_key,
                keeps_original=policy.dr_keeps_originals,
                deadline_at=deadline_at,
            )


def _copied_collections() -> dict[str, SnapshotCollection]:
    """Those whose snapshots have copies elsewhere, or are at least shared."""
    return {
        collection.name: collection
        for driver in registry.drivers()
        if driver.plan_copy is not None
        for collection in driver.snapshot_collections
        if not collection.is_copy and not collection.is_archive
    }


def _places(
    policy: Policy, original: Snapshot, collection: SnapshotCollection
) -> list[tuple[Account, str]]:
    """Where the original is to have copies, each place once and its own place never."""
    wanted = [(original.account, region) for region in _names(policy.dr_regions)]
    if policy.dr_crosses_accounts and policy.dr_account is not None:
        named = _names(policy.dr_account_regions) if collection.copied_as else ()
        wanted += [(policy.dr_account, region) for region in named or [original.region]]
    elif not collection.copied_as:
        wanted = []
    places = {_place(account, region): (account, region) for account, region in wanted if account}
    places.pop(_place(original.account, original.region), None)
    return list(places.values())


def _place(account: Account | None, region: str) -> tuple[str, str]:
    """A place as AWS knows it: two accounts of the server may be one of AWS."""
    number = account and (account.aws_account_number or account.account_number)
    return number or f"account {account and account.pk}", region


def _names(region_ids: Sequence[int]) -> list[str]:
    found = map(regions.by_id, region_ids)
    return [region.name for region in found if region is not None]


def _phases(backup: Backup) -> Counter[str]:
    """How many copies are in which phase."""
    counted = backup.dr_copies.order_by().values_list("phase").annotate(Count("pk"))
    return Counter(dict(counted))


def _tell_progress(backup: Backup, before: Counter[str], now: Counter[str]) -> None:
    done, copies = now[DrCopyPhase.CLOSED], now.total()
    if done * _PROGRESS_LINES // copies > before[DrCopyPhase.CLOSED] * _PROGRESS_LINES // copies:
        events.log("dr_progress", backup=backup, done=done, copies=copies)


@transaction.atomic
def _finish(backup: Backup) -> None:
    """All copies are over: say how it went, and what follows."""
    outcomes = list(backup.dr_copies.values_list("outcome", flat=True))
    status = status_of(outcomes)
    records = Backup.objects.filter(run=backup.run, dr_status=CopyStatus.IN_PROGRESS)
    finished = {"dr_status": status, "dr_finished_at": clock.now(), "dr_due_at": None}
    if not records.update(**finished, version=F("version") + 1):
        raise Overtaken(f"the copies of {backup} are finished already")
    good = outcomes.count(CopyOutcome.SUCCEEDED)
    failed = outcomes.count(CopyOutcome.FAILED)
    events.log(_CODES[status], backup=backup, copies=good, failed=failed)
    backup.refresh_from_db(fields=["dr_status", "dr_finished_at", "dr_due_at", "version"])
    undone = Operation.objects.filter(dr_copy__backup=backup, undoes__isnull=False)
    backup_alerts.review_dr(backup, is_clean=not undoing.left_behind(undone.order_by("pk")))
    give_up_originals(backup)
    jobs.wake_s3([backup.pk])
    if backup.policy_id is not None:
        jobs.defer_retention(backup.policy_id)


_CODES = {
    CopyStatus.NONE: "dr_nothing",
    CopyStatus.SUCCEEDED: "dr_succeeded",
    CopyStatus.PARTIAL: "dr_partial",
    CopyStatus.FAILED: "dr_failed",
}


def give_up_originals(backup: Backup) -> None:
    """Have originals deleted that are not to be kept beside their copies, if these are complete.

    What records share stays: it rotates by its own setting. One that is still being copied to S3
    goes when that is over.
    """
    missing = backup.dr_copies.filter(original=OuterRef("original")).exclude(
        outcome=CopyOutcome.SUCCEEDED, snapshot__isnull=False
    )
    copied = backup.dr_copies.filter(~Exists(missing), keeps_original=False)
    originals = live_snapshots().filter(pk__in=copied.values("original"), delete_requested_at=None)
    deletions.give_up_originals(originals.exclude(collection__in=shared_collections()), backup.user)
