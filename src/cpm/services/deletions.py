"""Deletions that reach AWS: of a snapshot, a record, or all that a policy or an account has.

Each tells what it would delete, and why it would keep the rest; with `dry_run` that is all. Those
of several snapshots leave copies in S3 alone, unless told `with_s3`; a record takes them along.
"""

from collections.abc import Sequence
from dataclasses import replace

from django.db import transaction

from cpm.engine import deletions
from cpm.engine.deleted import live_snapshots, mark_deleted
from cpm.engine.deletions import Choice
from cpm.kernel.faults import Fault
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.backups import Backup, BackupPhase, CopyStatus
from cpm.models.recoveries import RecoveryPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.queries import accounts, backups, policies, snapshots
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.services import access, audit
from cpm.services.access import Action
from cpm.services.errors import Conflict


@transaction.atomic
def of_account(
    account_id: int, *, is_dr: bool, actor: Person, dry_run: bool = False, with_s3: bool = False
) -> Sequence[Choice]:
    """Delete every snapshot of an account but those of frozen records, in the background.

    Raises `Forbidden` and `NotFound`.
    """
    access.require(actor, Action.DELETE_ACCOUNTS)
    account = one(accounts.of_kind(actor, is_dr=is_dr), account_id)
    choices = deletions.of_account(account, with_s3=with_s3)
    if dry_run:
        return deletions.preview(choices)
    deletions.request(choices)
    audit.record(actor, "delete snapshots of account", account.name)
    return choices


@transaction.atomic
def of_policy(
    policy_id: int, *, actor: Person, dry_run: bool = False, with_s3: bool = False
) -> Sequence[Choice]:
    """Delete every snapshot of a policy but those of frozen records, in the background.

    Raises `Forbidden` and `NotFound`.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    policy = one(policies.visible_to(actor), policy_id)
    choices = deletions.of_policy(policy, with_s3=with_s3)
    if dry_run:
        return deletions.preview(choices)
    deletions.request(choices)
    audit.record(actor, "delete snapshots of policy", policy.name)
    return choices


@transaction.atomic
def of_backup(
    backup_id: int, *, actor: Person, dry_run: bool = False, with_s3: bool = False
) -> Sequence[Choice]:
    """Delete the snapshots of a record, frozen or not, in the background; the record stays.

    Raises `Forbidden`, `NotFound` and `Conflict`.
    """
    backup = _named(backup_id, actor)
    choices = deletions.of_backup(backup, with_s3=with_s3)
    if dry_run:
        return _preview(backup, choices)
    _require_rest(backup)
    deletions.request(choices)
    audit.record(actor, "delete snapshots of backup", str(backup))
    return choices


@transaction.atomic
def backup(backup_id: int, *, actor: Person, dry_run: bool = False) -> Sequence[Choice]:
    """Delete a record at once, and its snapshots in the background.

    Raises `Forbidden`, `NotFound` and `Conflict`.
    """
    named = _named(backup_id, actor)
    choices = deletions.of_backup(named, with_s3=True)
    if dry_run:
        return _preview(named, choices)
    _require_rest(named)
    audit.record(actor, "delete backup", str(named))
    deletions.discard(named)
    return choices


def snapshot(
    backup_id: int, collection: str, snapshot_id: int, *, actor: Person, dry_run: bool = False
) -> Sequence[Choice]:
    """Delete one snapshot, in AWS first.

    Raises `Forbidden`, `NotFound`, `Conflict`, `Invalid` where other records share it, and `Fault`
    where AWS refuses.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    rows = snapshots.of_collection(actor, backup_id, collection)
    row = one(rows.select_related("backup", "account__assume_from_account"), snapshot_id)
    choices = deletions.choose(live_snapshots().filter(pk=row.pk), spare_frozen=False)
    if dry_run:
        return deletions.preview(choices)
    if row.status != SnapshotStatus.DELETED:
        _delete_in_aws(row, actor)
    return choices


def _delete_in_aws(row: Snapshot, actor: Person) -> None:
    """Delete a snapshot. That it was asked for is kept before AWS is, and what AWS refuses, too."""
    try:
        with transaction.atomic():
            deletions.claim(row)
            audit.record(actor, "delete snapshot", row.aws_ref, str(row.backup))
    except deletions.Kept as reason:
        raise Conflict(f"The snapshot cannot be deleted: {reason}.") from None
    except deletions.Shared:
        message = f"Other backups need {row.aws_ref}, too."
        raise Invalid(Problem("in_use", message)) from None
    try:
        deletions.delete_in_aws(row)
    except Fault as fault:
        with transaction.atomic():
            deletions.let_go(row)
            audit.record(actor, "snapshot not deleted", row.aws_ref, str(fault))
        raise
    mark_deleted([row.pk])


def _named(backup_id: int, actor: Person) -> Backup:
    access.require(actor, Action.CHANGE_BACKUPS)
    rows = backups.visible_to(actor).select_for_update(of=("self",), no_key=True)
    return one(rows, backup_id)


def _preview(backup: Backup, choices: Sequence[Choice]) -> Sequence[Choice]:
    """What would go; nothing while the record is not at rest."""
    reason = _unrest(backup)
    if reason is None:
        return deletions.preview(choices)
    return [replace(each, kept_because=each.kept_because or reason) for each in choices]


def _require_rest(backup: Backup) -> None:
    reason = _unrest(backup)
    if reason is not None:
        raise Conflict(f"{reason[0].upper()}{reason[1:]}.")


def _unrest(backup: Backup) -> str | None:
    """Why a record must be left alone: it is being written, copied or recovered from."""
    if backup.phase != BackupPhase.CLOSED:
        return "the backup is under way"
    if CopyStatus.IN_PROGRESS in (backup.dr_status, backup.s3_status):
        return "copies of the backup are under way"
    if backup.recoveries.exclude(phase=RecoveryPhase.CLOSED).exists():
        return "a recovery from the backup is under way"
    return None
