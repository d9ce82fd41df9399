"""Copies of EBS snapshots in S3 repositories, and the pieces that each is made in."""

from django.db import models
from django.db.models import Q

from cpm.models.backups import Backup, CopyOutcome
from cpm.models.machines import WorkerMachine
from cpm.models.repositories import S3Repository
from cpm.models.snapshots import Snapshot


class S3CopyPhase(models.TextChoices):
    """Which step a copy is at; how it ended is its outcome.

    `planned`: nobody knows yet what has to be read. `running`: its ranges are being copied, or all
    are there and the manifest is to be put. `closed`: see the outcome.
    """

    PLANNED = "planned"
    RUNNING = "running"
    CLOSED = "closed"


class S3Copy(models.Model):
    """One EBS snapshot that is to be archived. It outlives changes of the policy.

    Its snapshot is what users see; it is in the collection `copy_to_s3`, and AWS's name for it is
    the name of the manifest.
    """

    # The record that completed the run. The original may be that of an earlier record of it.
    backup = models.ForeignKey(Backup, models.SET_NULL, null=True, related_name="s3_copies")
    original = models.ForeignKey(Snapshot, models.SET_NULL, null=True, related_name="s3_copies")
    # What AWS calls the original, where it is, and when it was taken.
    original_ref = models.CharField(max_length=64, default="")
    original_region = models.CharField(max_length=32, default="")
    taken_at = models.DateTimeField(null=True)
    snapshot = models.OneToOneField(Snapshot, models.CASCADE, related_name="s3_copy")
    repository = models.ForeignKey(S3Repository, models.RESTRICT, related_name="copies")
    storage_class = models.CharField(max_length=32)
    timeout_hours = models.PositiveSmallIntegerField(default=24)
    retry_count = models.PositiveSmallIntegerField(default=3)
    deletes_original = models.BooleanField(default=False)

    # The manifest from which it goes on, and the snapshot with which AWS compares; empty for none.
    based_on = models.CharField(max_length=255, blank=True, default="")
    compared_with = models.CharField(max_length=64, blank=True, default="")
    # AWS could not compare, or the manifest is damaged: everything is read.
    reads_all = models.BooleanField(default=False)

    phase = models.CharField(max_length=8, choices=S3CopyPhase.choices, default=S3CopyPhase.PLANNED)
    outcome = models.CharField(max_length=1, choices=CopyOutcome.choices, blank=True, default="")
    error = models.TextField(blank=True, default="")
    # How often it has failed for good, and begun where it was all the same.
    attempts = models.PositiveSmallIntegerField(default=0)
    # By the repository's own clock: from here on the archive's rules give a copy its time.
    began_at = models.DateTimeField(null=True)
    # Counts from when its turn has come.
    deadline_at = models.DateTimeField(null=True)
    # When to look again, every open copy whose turn has come has such a time; a closed one has it
    # while it is to be deleted.
    due_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=0)

    # How many blocks were read for it, but for those that its ranges still tell of.
    blocks_read = models.BigIntegerField(default=0)
    # What its blocks hold, and what was stored for it.
    size_bytes = models.BigIntegerField(default=0)
    stored_bytes = models.BigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "s3 copies"
        constraints = [
            models.CheckConstraint(
                name="s3_copy_outcome_when_closed",
                condition=Q(phase=S3CopyPhase.CLOSED) & ~Q(outcome="")
                | (~Q(phase=S3CopyPhase.CLOSED) & Q(outcome="")),
            ),
        ]
        indexes = [
            models.Index(fields=["backup", "phase"]),
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="s3_copy_due"),
            # Failures are looked at by themselves, and are few.
            models.Index(
                fields=["id"], condition=Q(outcome=CopyOutcome.FAILED), name="s3_copy_failed"
            ),
            # What a snapshot is compared with must not go meanwhile.
            models.Index(
                fields=["compared_with"],
                condition=~Q(phase=S3CopyPhase.CLOSED),
                name="s3_copy_compared",
            ),
        ]

    def __str__(self) -> str:
        return f"copy of {self.original_ref} in repository {self.repository_id}"


class S3CopyRange(models.Model):
    """Some neighbouring pages of a copy, which one worker at a time copies.

    What a checkpoint says is written by a conditional update on the version, so that a worker that
    wakes late changes nothing.
    """

    copy = models.ForeignKey(S3Copy, models.CASCADE, related_name="ranges")
    # Whose it is, until that ends; null where the server's own workers copy it.
    machine = models.ForeignKey(
        WorkerMachine, models.SET_NULL, null=True, related_name="copy_ranges"
    )
    # Since when the machine is at it.
    claimed_at = models.DateTimeField(null=True)
    first_page = models.PositiveIntegerField()
    last_page = models.PositiveIntegerField()

    # Everything before this block is stored: pages that are done, and what the open one has so far.
    block = models.PositiveIntegerField(default=0)
    pages = models.JSONField(default=list)
    open_page = models.BinaryField(default=b"")
    is_done = models.BooleanField(default=False)

    blocks_read = models.PositiveIntegerField(default=0)
    stored_bytes = models.BigIntegerField(default=0)
    # When to look again; every range that is not done has such a time.
    due_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["copy", "first_page"], name="s3_copy_range_unique"),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="s3_range_due")
        ]

    def __str__(self) -> str:
        return f"pages {self.first_page} to {self.last_page} of copy {self.copy_id}"
