"""Copies in other regions and accounts, as they are wanted: written before anything is asked."""

from django.db import models
from django.db.models import Q

from cpm.models.accounts import Account
from cpm.models.backups import Backup, CopyOutcome
from cpm.models.snapshots import Snapshot


class DrCopyPhase(models.TextChoices):
    """Which step a copy is at; how it ended is its outcome."""

    PLANNED = "planned"
    RUNNING = "running"
    CLOSED = "closed"


class DrCopy(models.Model):
    """One snapshot that is to have a copy in one other place.

    It says all that is to be known for that, so that it outlives changes of the policy.
    """

    # The record that completed the run. The snapshot may be that of an earlier record of it.
    backup = models.ForeignKey(Backup, models.CASCADE, related_name="dr_copies")
    original = models.ForeignKey(Snapshot, models.CASCADE, related_name="dr_copies")
    # What is made; nothing where AWS can merely share.
    snapshot = models.OneToOneField(Snapshot, models.SET_NULL, null=True, related_name="dr_copy")
    account = models.ForeignKey(Account, models.SET_NULL, null=True, related_name="dr_copies")
    region = models.CharField(max_length=32)
    sharing_key = models.CharField(max_length=2048)
    keeps_original = models.BooleanField()

    phase = models.CharField(max_length=8, choices=DrCopyPhase.choices, default=DrCopyPhase.PLANNED)
    outcome = models.CharField(max_length=1, choices=CopyOutcome.choices, blank=True, default="")
    error = models.TextField(blank=True, default="")
    deadline_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "dr copies"
        constraints = [
            models.UniqueConstraint(
                fields=["original", "account", "region"], name="dr_copy_one_per_place"
            ),
            models.CheckConstraint(
                name="dr_copy_outcome_when_closed",
                condition=Q(phase=DrCopyPhase.CLOSED) & ~Q(outcome="")
                | (~Q(phase=DrCopyPhase.CLOSED) & Q(outcome="")),
            ),
        ]
        indexes = [models.Index(fields=["backup", "phase"])]

    def __str__(self) -> str:
        return f"copy of {self.original_id} in {self.region}"
