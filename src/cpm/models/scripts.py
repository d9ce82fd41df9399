"""Runs of the scripts that lie on the server itself: one row for each, written before it starts."""

from django.db import models
from django.db.models import Q

from cpm.models.backups import Backup


class Hook(models.TextChoices):
    """When in a backup a script runs."""

    BEFORE = "before"
    AFTER = "after"
    COMPLETE = "complete"


class ScriptPhase(models.TextChoices):
    """Which step the run of a script is at; how it ended is its outcome."""

    PLANNED = "planned"
    RUNNING = "running"
    CLOSED = "closed"


class ScriptOutcome(models.TextChoices):
    """How the run of a script ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABSENT = "absent"


class ScriptRun(models.Model):
    """One script of one backup. It runs once: a run that was interrupted has failed."""

    backup = models.ForeignKey(Backup, models.CASCADE, related_name="scripts")
    hook = models.CharField(max_length=8, choices=Hook.choices)
    # What it is told: whether all went well so far, `1` or `0`.
    argument = models.CharField(max_length=1, blank=True, default="")
    timeout_seconds = models.PositiveIntegerField()

    phase = models.CharField(max_length=8, choices=ScriptPhase.choices, default=ScriptPhase.PLANNED)
    outcome = models.CharField(max_length=9, choices=ScriptOutcome.choices, blank=True, default="")
    error = models.TextField(blank=True, default="")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    # When to look again; every open run has such a time.
    due_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["backup", "hook"], name="script_once_per_backup"),
            models.CheckConstraint(
                name="script_outcome_when_closed",
                condition=Q(phase=ScriptPhase.CLOSED, due_at__isnull=True) & ~Q(outcome="")
                | (~Q(phase=ScriptPhase.CLOSED) & Q(due_at__isnull=False, outcome="")),
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="script_due")
        ]

    def __str__(self) -> str:
        return f"{self.hook} script of backup {self.backup_id}"
