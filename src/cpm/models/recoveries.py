"""Recoveries: what was brought back, into what, and how it went."""

from django.db import models
from django.db.models import Q

from cpm.models.accounts import Account
from cpm.models.backups import Backup
from cpm.models.policies import Policy
from cpm.models.snapshots import Snapshot
from cpm.models.users import User


class RecoveryPhase(models.TextChoices):
    """Which step a recovery is at; how it ended is its outcome."""

    PLANNED = "planned"
    RUNNING = "running"
    CLOSED = "closed"


class RecoveryOutcome(models.TextChoices):
    """How a recovery ended: the letters of `status` on the wire, where `P` means not closed."""

    SUCCEEDED = "S", "Succeeded"
    PARTIAL = "A", "Partially successful"
    FAILED = "F", "Failed"


class Recovery(models.Model):
    """One request to bring a resource back, with the options as they were asked for."""

    user = models.ForeignKey(User, models.CASCADE, related_name="recoveries")
    account = models.ForeignKey(Account, models.SET_NULL, null=True, related_name="recoveries")
    account_name = models.CharField(max_length=100)
    backup = models.ForeignKey(Backup, models.SET_NULL, null=True, related_name="recoveries")
    policy = models.ForeignKey(Policy, models.SET_NULL, null=True, related_name="recoveries")
    policy_name = models.CharField(max_length=100)
    kind = models.CharField(max_length=32)
    recovery_type = models.CharField(max_length=1)
    snapshots = models.ManyToManyField(Snapshot, related_name="recoveries")

    resource_id = models.CharField(max_length=255)
    region = models.CharField(max_length=32)
    options = models.JSONField(default=dict)
    backup_started_at = models.DateTimeField()

    phase = models.CharField(
        max_length=8, choices=RecoveryPhase.choices, default=RecoveryPhase.PLANNED
    )
    outcome = models.CharField(
        max_length=1, choices=RecoveryOutcome.choices, blank=True, default=""
    )
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    # When to look again; every open recovery has such a time.
    due_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=0)
    result_resource_ids = models.JSONField(default=list)
    error = models.TextField(blank=True, default="")

    class Meta:
        verbose_name_plural = "recoveries"
        constraints = [
            models.CheckConstraint(
                name="recovery_outcome_when_closed",
                condition=Q(
                    phase=RecoveryPhase.CLOSED, finished_at__isnull=False, due_at__isnull=True
                )
                & ~Q(outcome="")
                | (
                    ~Q(phase=RecoveryPhase.CLOSED)
                    & Q(outcome="", finished_at__isnull=True, due_at__isnull=False)
                ),
            )
        ]
        indexes = [
            models.Index(fields=["user", "id"]),
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="recovery_due"),
        ]

    def __str__(self) -> str:
        return f"recovery {self.pk} of {self.resource_id}"
