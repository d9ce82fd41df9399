"""Operations: one row for each thing that AWS is asked to do, written before it is asked."""

import uuid

from django.db import models
from django.db.models import Q

from cpm.models.accounts import Account
from cpm.models.backups import Backup
from cpm.models.dr_copies import DrCopy
from cpm.models.recoveries import Recovery
from cpm.models.snapshots import Snapshot
from cpm.resources.contract import Once


class OperationPhase(models.TextChoices):
    """Which step an operation is at.

    `planned`: AWS has not been asked. `starting`: it may have been asked, nobody knows.
    `started`: AWS accepted and works on `refs`. `closed`: see the outcome.
    """

    PLANNED = "planned"
    STARTING = "starting"
    STARTED = "started"
    CLOSED = "closed"


class OperationOutcome(models.TextChoices):
    """How an operation ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Operation(models.Model):
    """One effect of a driver on AWS.

    The token goes into what is made (tags, identifier or name), so that after a crash or a lost
    answer the effect can be found again instead of being repeated.
    """

    kind = models.CharField(max_length=32)
    effect = models.CharField(max_length=48)
    token = models.UUIDField(unique=True, default=uuid.uuid4)
    account = models.ForeignKey(Account, models.SET_NULL, null=True, related_name="operations")
    region = models.CharField(max_length=32)
    # What it is about, for logs.
    resource_id = models.CharField(max_length=255, blank=True, default="")

    backup = models.ForeignKey(Backup, models.CASCADE, null=True, related_name="operations")
    recovery = models.ForeignKey(Recovery, models.CASCADE, null=True, related_name="operations")
    dr_copy = models.ForeignKey(DrCopy, models.CASCADE, null=True, related_name="operations")
    # The snapshot that is deleted; those that are made point here instead.
    snapshot = models.ForeignKey(Snapshot, models.CASCADE, null=True, related_name="deletions")
    # In a chain: the name of this step, the one that it follows, and when it may begin.
    step = models.CharField(max_length=48, blank=True, default="")
    after = models.ForeignKey("self", models.CASCADE, null=True, related_name="followers")
    once = models.CharField(
        max_length=9, choices=[(each.value, each.name) for each in Once], default=Once.DONE.value
    )
    # The step of a chain that this one takes back.
    undoes = models.ForeignKey("self", models.CASCADE, null=True, related_name="undone_by")

    spec = models.JSONField(default=dict)
    refs = models.JSONField(default=dict)
    # What is watched for this operation; all due ones of an account, region and watch share calls.
    watch = models.CharField(max_length=32, blank=True, default="")

    phase = models.CharField(
        max_length=8, choices=OperationPhase.choices, default=OperationPhase.PLANNED
    )
    outcome = models.CharField(
        max_length=9, choices=OperationOutcome.choices, blank=True, default=""
    )
    fault = models.CharField(max_length=16, blank=True, default="")
    error = models.TextField(blank=True, default="")
    attempts = models.PositiveSmallIntegerField(default=0)
    # How often AWS has refused what it may yet allow (rights, a state that forbids it).
    refusals = models.PositiveSmallIntegerField(default=0)
    progress_percent = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    asked_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    # When to look again. An open operation always has such a time: none can be forgotten.
    due_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField()
    # How long it may take from when its turn comes; null as soon as the deadline says so.
    within_seconds = models.PositiveIntegerField(null=True)
    # AWS works on so many at once, and this one has not been called up yet.
    waits_for_turn = models.BooleanField(default=False)
    # The budget has given this operation the time in due_at; it need not ask again.
    has_slot = models.BooleanField(default=False)
    version = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="operation_outcome_when_closed",
                condition=Q(phase=OperationPhase.CLOSED, due_at__isnull=True) & ~Q(outcome="")
                | (~Q(phase=OperationPhase.CLOSED) & Q(due_at__isnull=False, outcome="")),
            ),
            models.UniqueConstraint(
                fields=["snapshot", "effect"],
                condition=~Q(phase=OperationPhase.CLOSED),
                name="operation_one_open_per_snapshot",
            ),
            models.UniqueConstraint(
                fields=["undoes"],
                condition=~Q(phase=OperationPhase.CLOSED),
                name="operation_undone_once_at_a_time",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=Q(phase__in=[OperationPhase.PLANNED, OperationPhase.STARTING]),
                name="operation_due",
            ),
            models.Index(
                fields=["account", "region", "watch", "due_at"],
                condition=Q(phase=OperationPhase.STARTED),
                name="operation_watched",
            ),
            models.Index(
                fields=["account", "region", "effect"],
                condition=~Q(phase=OperationPhase.CLOSED),
                name="operation_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.effect} {self.token}"

    @property
    def is_chained(self) -> bool:
        """Whether others may follow it."""
        return bool(self.step) or self.undoes_id is not None
