"""Runs of policies: the records that users see, and the targets as each run found them."""

import uuid

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Upper

from cpm.models.accounts import Account
from cpm.models.policies import Policy
from cpm.models.repositories import S3Repository
from cpm.models.users import User


class BackupPhase(models.TextChoices):
    """Which step a backup is at; how it ended is its outcome."""

    PLANNED = "planned"
    RUNNING = "running"
    CLOSED = "closed"


class BackupOutcome(models.TextChoices):
    """How a backup ended: the letters of `status` on the wire, where `P` means not closed."""

    SUCCEEDED = "B", "Successful"
    PARTIAL = "A", "Partially successful"
    FAILED = "F", "Failed"
    DELETED = "D", "Deleted"


class Trigger(models.TextChoices):
    """What made a backup start."""

    SCHEDULE = "S", "Schedule"
    MANUAL = "M", "Manual"
    RETRY = "R", "Retry"


class CopyStatus(models.TextChoices):
    """How the DR or S3 part of a backup stands."""

    NONE = "N", "None"
    IN_PROGRESS = "P", "In progress"
    SUCCEEDED = "S", "Succeeded"
    PARTIAL = "A", "Partially successful"
    FAILED = "F", "Failed"
    DELETED = "D", "Deleted"


class CopyOutcome(models.TextChoices):
    """How one copy of a snapshot, in another place or in S3, ended."""

    SUCCEEDED = "S", "Succeeded"
    FAILED = "F", "Failed"


class Backup(models.Model):
    """One run of one policy. It outlives the policy and the account, whose names it keeps."""

    user = models.ForeignKey(User, models.CASCADE, related_name="backups")
    account = models.ForeignKey(Account, models.SET_NULL, null=True, related_name="backups")
    account_name = models.CharField(max_length=100)
    policy = models.ForeignKey(Policy, models.SET_NULL, null=True, related_name="backups")
    policy_name = models.CharField(max_length=100)
    schedule_name = models.CharField(max_length=100, blank=True, default="")

    name = models.CharField(max_length=100, null=True)  # noqa: DJ001 - only frozen ones have one
    description = models.CharField(max_length=1000, null=True)  # noqa: DJ001 - likewise
    is_frozen = models.BooleanField(default=False)

    trigger = models.CharField(max_length=1, choices=Trigger.choices)
    scheduled_at = models.DateTimeField(null=True)
    # A record and its retries share one run: together they are one generation.
    run = models.UUIDField(default=uuid.uuid4)
    attempt = models.PositiveSmallIntegerField(default=0)
    # When what failed is to be repeated, as a new record of the same run.
    retry_at = models.DateTimeField(null=True)

    # Whether the server's own scripts run in it; decided when it begins.
    runs_scripts = models.BooleanField(default=False)

    phase = models.CharField(max_length=8, choices=BackupPhase.choices, default=BackupPhase.PLANNED)
    outcome = models.CharField(max_length=1, choices=BackupOutcome.choices, blank=True, default="")
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    # When to look again; every open backup has such a time.
    due_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=0)
    # Deleted by its owner: hidden at once, gone when AWS has let go of its snapshots.
    discarded_at = models.DateTimeField(null=True)
    # What the cleanup log has said of it last, so that it says nothing twice.
    cleanup_told = models.CharField(max_length=100, blank=True, default="")

    dr_status = models.CharField(max_length=1, choices=CopyStatus.choices, default=CopyStatus.NONE)
    dr_finished_at = models.DateTimeField(null=True)
    # When to look again at the copies, which the last record of a run has in its charge.
    dr_due_at = models.DateTimeField(null=True)
    s3_status = models.CharField(max_length=1, choices=CopyStatus.choices, default=CopyStatus.NONE)
    s3_finished_at = models.DateTimeField(null=True)
    s3_repository = models.ForeignKey(
        S3Repository, models.SET_NULL, null=True, related_name="backups"
    )
    # As `dr_due_at`.
    s3_due_at = models.DateTimeField(null=True)
    # Null while its turn has yet to come: of a policy one run is copied at a time.
    s3_started_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="backup_outcome_when_closed",
                condition=Q(
                    phase=BackupPhase.CLOSED, finished_at__isnull=False, due_at__isnull=True
                )
                & ~Q(outcome="")
                | (
                    ~Q(phase=BackupPhase.CLOSED)
                    & Q(outcome="", finished_at__isnull=True, due_at__isnull=False)
                ),
            ),
            models.UniqueConstraint(
                fields=["policy"],
                condition=~Q(phase=BackupPhase.CLOSED),
                name="backup_one_running",
            ),
            models.UniqueConstraint(
                fields=["policy"],
                condition=Q(s3_due_at__isnull=False, s3_started_at__isnull=False),
                name="backup_one_copied_to_s3",
            ),
            models.UniqueConstraint(
                fields=["policy", "scheduled_at"],
                condition=Q(trigger=Trigger.SCHEDULE),
                name="backup_one_per_slot",
            ),
            models.UniqueConstraint(
                fields=["user", "name"],
                condition=Q(is_frozen=True, discarded_at__isnull=True),
                name="backup_frozen_name_unique",
            ),
        ]
        indexes = [
            GinIndex(
                *(
                    OpClass(Upper(column), "gin_trgm_ops")
                    for column in ("policy_name", "name", "description")
                ),
                name="backup_searched",
            ),
            # Lists are counted, and far pages found, by this index alone.
            models.Index(
                fields=["user", "id"],
                condition=Q(discarded_at__isnull=True),
                name="backup_listed",
            ),
            models.Index(fields=["policy", "id"]),
            # Generations are counted for each record that is shown.
            models.Index(
                fields=["policy", "id"],
                include=["run", "dr_status"],
                condition=Q(
                    outcome=BackupOutcome.SUCCEEDED, is_frozen=False, discarded_at__isnull=True
                ),
                name="backup_generation",
            ),
            models.Index(fields=["run"], condition=Q(attempt__gt=0), name="backup_retried"),
            models.Index(fields=["started_at", "id"]),
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="backup_due"),
            models.Index(
                fields=["dr_due_at"],
                condition=Q(dr_due_at__isnull=False),
                name="backup_dr_due",
            ),
            models.Index(
                fields=["s3_due_at"],
                condition=Q(s3_due_at__isnull=False),
                name="backup_s3_due",
            ),
            models.Index(
                fields=["retry_at"], condition=Q(retry_at__isnull=False), name="backup_retry"
            ),
        ]

    def __str__(self) -> str:
        return f"backup {self.pk} of {self.policy_name}"


class BackupTarget(models.Model):
    """A target as one backup found it: the facts from which it can be made anew."""

    backup = models.ForeignKey(Backup, models.CASCADE, related_name="targets")
    kind = models.CharField(max_length=32)
    resource_id = models.CharField(max_length=255)
    resource_name = models.CharField(max_length=256, null=True)  # noqa: DJ001 - "has no name"
    region = models.CharField(max_length=32)
    options = models.JSONField(default=dict)
    facts = models.JSONField(default=dict)
    # When AWS was asked what the target is, and the work on it was ordered.
    planned_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, default="")
    is_missing = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["backup", "kind", "resource_id", "region"], name="backup_target_unique"
            )
        ]

    def __str__(self) -> str:
        return self.resource_id
