"""How a backup stands: what AWS has been asked for, what is protected, and what is not."""

from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from cpm.engine.deleted import shared_collections
from cpm.models.backups import Backup, BackupOutcome, BackupTarget
from cpm.models.operations import Operation, OperationOutcome, OperationPhase
from cpm.models.policies import SuccessIndication
from cpm.models.scripts import ScriptOutcome
from cpm.models.snapshots import SnapshotStatus
from cpm.resources import registry


@dataclass(frozen=True)
class Tally:
    """What a backup has come to."""

    snapshots: int
    failed_targets: int
    missing_targets: int
    targets: int
    failed_scripts: int

    @property
    def outcome(self) -> BackupOutcome:
        """The verdict. A run that protected nothing would push out a generation that did."""
        if not self.snapshots:
            return BackupOutcome.FAILED
        has_failed = self.failed_targets or self.failed_scripts
        return BackupOutcome.PARTIAL if has_failed else BackupOutcome.SUCCEEDED


def tally(backup: Backup) -> Tally:
    """Count what was protected and what was not."""
    # What records share is no copy of what the target is now.
    succeeded = Q(snapshots__status=SnapshotStatus.SUCCEEDED)
    good = Count("snapshots", filter=succeeded & ~Q(snapshots__collection__in=shared_collections()))
    targets = backup.targets.annotate(good=good)
    counted = list(targets.values_list("pk", "good", "is_missing"))
    return Tally(
        snapshots=sum(good for _, good, _ in counted),
        failed_targets=failed(backup).count(),
        missing_targets=sum(missing for _, _, missing in counted),
        targets=len(counted),
        failed_scripts=_failed_scripts(backup),
    )


def unprotected(backup: Backup) -> QuerySet[BackupTarget]:
    """The targets that are not protected as they should be."""
    not_good = Q(snapshots__status=SnapshotStatus.FAILED)
    return backup.targets.filter(~Q(error="") | not_good).distinct()


def failed(backup: Backup) -> QuerySet[BackupTarget]:
    """The targets that are not as the policy wants them: unprotected, or inconsistent."""
    if not _scripts_count(backup):
        return unprotected(backup)
    makes_consistent = [
        effect.name
        for driver in registry.drivers()
        for effect in driver.effects
        if effect.for_consistency
    ]
    went_wrong = Operation.objects.filter(
        backup=OuterRef("backup"),
        kind=OuterRef("kind"),
        region=OuterRef("region"),
        resource_id=OuterRef("resource_id"),
        outcome=OperationOutcome.FAILED,
        effect__in=makes_consistent,
    )
    ids = unprotected(backup).values("pk")
    return backup.targets.filter(Q(pk__in=ids) | Exists(went_wrong))


def is_asked_for(backup: Backup) -> bool:
    """Whether AWS has been asked for every snapshot that there is to be, whatever it said."""
    to_ask = (OperationPhase.PLANNED, OperationPhase.STARTING)
    asking = backup.operations.filter(phase__in=to_ask, snapshots__isnull=False)
    return not backup.targets.filter(planned_at=None).exists() and not asking.exists()


def _failed_scripts(backup: Backup) -> int:
    """The scripts that did not go well, where the policy wants them to count."""
    if not backup.runs_scripts or not _scripts_count(backup):
        return 0
    return backup.scripts.filter(outcome=ScriptOutcome.FAILED).count()


def _scripts_count(backup: Backup) -> bool:
    policy = backup.policy
    wanted = SuccessIndication.SNAPSHOTS_AND_SCRIPTS
    return policy is not None and policy.backup_success_indication == wanted
