"""Copies in S3 on their way back into EBS, and the pieces in which each of them is brought."""

from django.db import models
from django.db.models import Q

from cpm.models.machines import WorkerMachine
from cpm.models.operations import Operation
from cpm.models.recoveries import Recovery
from cpm.models.s3_copies import S3Copy


class S3RestorePhase(models.TextChoices):
    """Which step a restore is at; what has gone wrong is its recovery's error.

    `planned`: its EBS snapshot is being started. `filling`: blocks are put into that. `completing`:
    AWS seals it. `closed`: it is complete, or the recovery has failed.
    """

    PLANNED = "planned"
    FILLING = "filling"
    COMPLETING = "completing"
    CLOSED = "closed"


class S3Restore(models.Model):
    """One copy in S3 that a recovery needs as an EBS snapshot."""

    recovery = models.ForeignKey(Recovery, models.CASCADE, related_name="restores")
    copy = models.ForeignKey(S3Copy, models.CASCADE, related_name="restores")
    # What starts the EBS snapshot, where it is to be; and what seals it in the end.
    start = models.OneToOneField(Operation, models.CASCADE, related_name="restore")
    completion = models.OneToOneField(
        Operation, models.CASCADE, null=True, related_name="completed_restore"
    )

    # What was damaged and is zeros, where that was asked for.
    lost = models.JSONField(default=list)
    # How many blocks the copy has.
    blocks = models.PositiveIntegerField()
    # What the log has said of its progress.
    told_percent = models.PositiveSmallIntegerField(default=0)

    phase = models.CharField(
        max_length=10, choices=S3RestorePhase.choices, default=S3RestorePhase.PLANNED
    )
    began_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField()
    version = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"restore {self.pk} of copy {self.copy_id}"


class S3RestoreRange(models.Model):
    """Some neighbouring pages of a restore, which one worker at a time brings.

    How far it is, is written by a conditional update on the version, so that a worker that wakes
    late changes nothing; to put a block again does no harm.
    """

    restore = models.ForeignKey(S3Restore, models.CASCADE, related_name="ranges")
    # Whose it is, until that ends; null where the server's own workers bring it.
    machine = models.ForeignKey(
        WorkerMachine, models.SET_NULL, null=True, related_name="restore_ranges"
    )
    # Since when the machine is at it.
    claimed_at = models.DateTimeField(null=True)
    first_page = models.PositiveIntegerField()
    last_page = models.PositiveIntegerField()

    # Everything before this block has been put, but for what was lost.
    block = models.PositiveIntegerField(default=0)
    lost = models.JSONField(default=list)
    is_done = models.BooleanField(default=False)
    # Of the copy in these pages, and of those put.
    blocks = models.PositiveIntegerField()
    blocks_done = models.PositiveIntegerField(default=0)

    # How often in a row AWS has refused it, and why it is given up.
    refusals = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True, default="")
    # When to look again; null when nothing is left to be done.
    due_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["restore", "first_page"], name="s3_restore_range_unique"
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"], condition=Q(due_at__isnull=False), name="s3_restore_range_due"
            )
        ]

    def __str__(self) -> str:
        return f"pages {self.first_page} to {self.last_page} of restore {self.restore_id}"
