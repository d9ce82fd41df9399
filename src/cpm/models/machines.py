"""Worker machines: EC2 instances that are launched to move data, each a row before it is one."""

import uuid

from django.db import models
from django.db.models import Q

from cpm.models.accounts import Account
from cpm.models.workers import Worker


class MachinePhase(models.TextChoices):
    """Which step a machine is at; how it ended is its outcome.

    `planned`: AWS has not been asked. `starting`: AWS may have been asked. `running`: it is there.
    `ending`: AWS is to end it. `closed`: see the outcome.
    """

    PLANNED = "planned"
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    CLOSED = "closed"


class MachineOutcome(models.TextChoices):
    """How a machine ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


class WorkerMachine(models.Model):
    """One machine, from the wish for it to its end; a worker has one at a time."""

    worker = models.ForeignKey(Worker, models.SET_NULL, null=True, related_name="machines")
    account = models.ForeignKey(Account, models.CASCADE, related_name="machines")
    region = models.CharField(max_length=32)
    # What makes it recognisable in AWS, and launches it only once.
    token = models.UUIDField(default=uuid.uuid4, unique=True)

    phase = models.CharField(
        max_length=8, choices=MachinePhase.choices, default=MachinePhase.PLANNED
    )
    outcome = models.CharField(max_length=9, choices=MachineOutcome.choices, blank=True, default="")
    error = models.TextField(blank=True, default="")
    attempts = models.PositiveSmallIntegerField(default=0)
    instance_id = models.CharField(max_length=32, blank=True, default="")

    planned_at = models.DateTimeField()
    asked_at = models.DateTimeField(null=True)
    launched_at = models.DateTimeField(null=True)
    # When it first said who it is; the token that it was given then, hashed.
    enrolled_at = models.DateTimeField(null=True)
    token_hash = models.BinaryField(null=True, unique=True)
    seen_at = models.DateTimeField(null=True)
    worked_at = models.DateTimeField(null=True)
    # It ends then, whatever it is at.
    deadline_at = models.DateTimeField(null=True)
    # When to look again; every machine that is not closed has such a time.
    due_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["worker"],
                condition=~Q(phase__in=[MachinePhase.ENDING, MachinePhase.CLOSED]),
                name="machine_one_of_worker",
            ),
            models.CheckConstraint(
                name="machine_outcome_when_closed",
                condition=Q(phase=MachinePhase.CLOSED, due_at__isnull=True) & ~Q(outcome="")
                | (~Q(phase=MachinePhase.CLOSED) & Q(due_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="machine_due")
        ]

    def __str__(self) -> str:
        return f"machine {self.pk} in {self.region}"
