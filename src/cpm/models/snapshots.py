"""Protected copies: one row for each object that AWS keeps for us."""

from django.db import models
from django.db.models import Q

from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupTarget


class SnapshotStatus(models.TextChoices):
    """How one snapshot stands: the letters of `status` on the wire."""

    IN_PROGRESS = "P", "In progress"
    SUCCEEDED = "S", "Succeeded"
    FAILED = "F", "Failed"
    DELETED = "D", "Deleted"


class Snapshot(models.Model):
    """One copy of one resource. Written before AWS is asked; `aws_ref` is what AWS calls it."""

    backup = models.ForeignKey(Backup, models.CASCADE, related_name="snapshots")
    target = models.ForeignKey(BackupTarget, models.CASCADE, null=True, related_name="snapshots")
    operation = models.ForeignKey(
        "cpm.Operation", models.SET_NULL, null=True, related_name="snapshots"
    )
    kind = models.CharField(max_length=32)
    collection = models.CharField(max_length=32)
    account = models.ForeignKey(Account, models.SET_NULL, null=True, related_name="snapshots")
    account_name = models.CharField(max_length=100)
    region = models.CharField(max_length=32)

    resource_id = models.CharField(max_length=255)
    resource_name = models.CharField(max_length=256, null=True)  # noqa: DJ001 - "has no name"
    instance_id = models.CharField(max_length=64, null=True)  # noqa: DJ001 - does not apply
    volume_device = models.CharField(max_length=64, null=True)  # noqa: DJ001 - does not apply
    facts = models.JSONField(default=dict)
    source_snapshot = models.ForeignKey("self", models.SET_NULL, null=True, related_name="copies")

    aws_ref = models.CharField(max_length=512, blank=True, default="", db_index=True)
    status = models.CharField(
        max_length=1, choices=SnapshotStatus.choices, default=SnapshotStatus.IN_PROGRESS
    )
    progress_percent = models.PositiveSmallIntegerField(default=0)
    size_gib = models.PositiveIntegerField(null=True)
    encrypted = models.BooleanField(null=True)
    error = models.TextField(blank=True, default="")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    # When its deletion was asked for; cleanup asks AWS again for what it has refused.
    delete_requested_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="snapshot_success_is_known_to_aws",
                condition=~Q(status=SnapshotStatus.SUCCEEDED) | ~Q(aws_ref=""),
            )
        ]
        indexes = [
            models.Index(fields=["backup", "collection", "id"]),
            # Whether a record has any left is asked for each that is shown or judged.
            models.Index(
                fields=["backup"],
                condition=~Q(status=SnapshotStatus.DELETED)
                & ~Q(aws_ref="")
                & Q(delete_requested_at__isnull=True),
                name="snapshot_kept",
            ),
            models.Index(
                fields=["account"],
                condition=Q(delete_requested_at__isnull=False) & ~Q(status=SnapshotStatus.DELETED),
                name="snapshot_wanted_away",
            ),
        ]

    def __str__(self) -> str:
        return self.aws_ref or f"snapshot {self.pk} of {self.resource_id}"
