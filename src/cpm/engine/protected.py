"""Remembers of each target when it was last protected: records go, and reports ask."""

from django.db.models import Exists, OuterRef

from cpm.engine import transitions
from cpm.engine.deleted import shared_collections
from cpm.models.backups import Backup, BackupTarget
from cpm.models.policies import Target
from cpm.models.snapshots import Snapshot, SnapshotStatus


def note(backup: Backup) -> None:
    """A backup is over: those of its policy's targets that it has protected whole are so now."""
    snapshots = Snapshot.objects.filter(target=OuterRef("pk"))
    good = snapshots.filter(status=SnapshotStatus.SUCCEEDED)
    bad = snapshots.filter(status=SnapshotStatus.FAILED)
    protected = BackupTarget.objects.filter(
        Exists(good.exclude(collection__in=shared_collections())),
        ~Exists(bad),
        backup=backup,
        error="",
        kind=OuterRef("kind"),
        resource_id=OuterRef("resource_id"),
        region=OuterRef("region"),
    )
    transitions.hold_targets(backup.policy_id)
    targets = Target.objects.filter(Exists(protected), policy=backup.policy_id)
    targets.update(protected_at=backup.started_at)
