"""Writes of backups: starting one, and what becomes of a record afterwards."""

from collections.abc import Mapping

from django.db import transaction

from cpm.engine import tick
from cpm.engine.deleted import kept_snapshots
from cpm.kernel import names
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.backups import Backup, BackupOutcome
from cpm.models.snapshots import SnapshotStatus
from cpm.queries import backups, policies
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.services import access, audit, unique
from cpm.services.access import Action
from cpm.services.errors import Conflict
from cpm.services.fields import Field, Fields
from cpm.services.given import Given
from cpm.services.kinds import text

_NAME = text(names.name)
_DESCRIPTION = Field("description", text(names.description, blank=True), nullable=True)
FREEZE_FIELDS = Fields((Field("name", _NAME, required=True), _DESCRIPTION))
FIELDS = Fields((Field("name", _NAME), _DESCRIPTION))

_FREEZABLE = (BackupOutcome.SUCCEEDED, BackupOutcome.PARTIAL)


@transaction.atomic
def start(policy_id: int, *, actor: Person) -> Backup:
    """Run a policy now. Raises `Forbidden`, `NotFound`, `Invalid` and `Conflict`."""
    access.require(actor, Action.CHANGE_BACKUPS)
    rows = policies.visible_to(actor).select_related("user", "account")
    policy = one(rows.select_for_update(of=("self",), no_key=True), policy_id)
    try:
        backup = tick.run_now(policy)
    except tick.NothingToProtect:
        raise Invalid(Problem("invalid", "The policy has no targets.")) from None
    except tick.AlreadyRunning:
        raise Conflict("A backup of this policy is under way.") from None
    audit.record(actor, "run policy", policy.name, f"backup {backup.pk}")
    return backup


@transaction.atomic
def update(backup_id: int, data: Mapping[str, object], *, actor: Person) -> None:
    """Change name and description of a frozen record.

    Raises `Forbidden`, `NotFound`, and `Invalid`, also for a record that is not frozen.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    backup = _locked(backup_id, actor)
    given = FIELDS.read(data, partial=True)
    if not backup.is_frozen:
        given.refuse("", "invalid", "Only frozen backups have a name and a description.")
    _store(backup, given)
    audit.record(actor, "update backup", str(backup), ", ".join(given))


@transaction.atomic
def freeze(backup_id: int, data: Mapping[str, object], *, actor: Person) -> None:
    """Take a record out of retention. Raises `Forbidden`, `NotFound` and `Invalid`."""
    access.require(actor, Action.CHANGE_BACKUPS)
    backup = _locked(backup_id, actor)
    given = FREEZE_FIELDS.read(data)
    if backup.outcome not in _FREEZABLE or not _has_live_snapshots(backup):
        given.refuse("", "invalid", "Only successful backups that have snapshots can be frozen.")
    _store(backup, given, is_frozen=True)
    audit.record(actor, "freeze backup", str(backup), given["name"])


def _locked(backup_id: int, actor: Person) -> Backup:
    rows = backups.visible_to(actor).select_for_update(of=("self",), no_key=True)
    return one(rows, backup_id)


def _store(backup: Backup, given: Given, **columns: bool) -> None:
    """Raise `Invalid`, or change the record; names of frozen ones are unique for their owner."""
    siblings = Backup.objects.filter(user_id=backup.user_id, is_frozen=True, discarded_at=None)
    unique.refuse_taken(given, "name", siblings.exclude(pk=backup.pk))
    given.check()
    with unique.kept_by("backup_frozen_name_unique", "name"):
        Backup.objects.filter(pk=backup.pk).update(**given, **columns)


def _has_live_snapshots(backup: Backup) -> bool:
    """Whether something is left to be kept, and not about to be deleted."""
    return kept_snapshots().filter(backup=backup, status=SnapshotStatus.SUCCEEDED).exists()
