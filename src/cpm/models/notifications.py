"""How people are told of alerts: where to, what they have been told, and what is on its way."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from cpm.models.accounts import Account
from cpm.models.alerts import Alert, AlertCategory, AlertSeverity
from cpm.models.users import User


class ChannelType(models.TextChoices):
    """What messages travel by: the words of `channel_type` on the wire."""

    EMAIL = "email", "E-mail"
    SNS = "sns", "SNS topic"
    WEBHOOK = "webhook", "Webhook"


class DeliveryKind(models.TextChoices):
    """What a message is about."""

    ALERTS = "alerts"
    SUMMARY = "summary"
    TEST = "test"


class DeliveryPhase(models.TextChoices):
    """Whether a message is still on its way; how it ended is its outcome."""

    WAITING = "waiting"
    CLOSED = "closed"


class DeliveryOutcome(models.TextChoices):
    """How it ended with a message."""

    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class Channel(models.Model):
    """One way in which a user is told of alerts."""

    user = models.ForeignKey(User, models.CASCADE, related_name="channels")
    name = models.CharField(max_length=100)
    channel_type = models.CharField(max_length=7, choices=ChannelType.choices)
    enabled = models.BooleanField(default=True)
    least_severity = models.CharField(
        max_length=7, choices=AlertSeverity.choices, default=AlertSeverity.WARNING
    )
    # None stands for all.
    categories = ArrayField(
        models.CharField(max_length=8, choices=AlertCategory.choices), default=list
    )
    daily_summary = models.BooleanField(default=True)

    email = models.CharField(max_length=254, blank=True, default="")
    url = models.CharField(max_length=2000, blank=True, default="")
    sealed_secret = models.BinaryField(null=True)
    account = models.ForeignKey(Account, models.RESTRICT, null=True, related_name="channels")
    region = models.CharField(max_length=32, blank=True, default="")
    # Empty until the server has made the topic, where it was not given.
    topic_arn = models.CharField(max_length=300, blank=True, default="")

    # Of the last attempt, empty when that was good.
    error = models.TextField(blank=True, default="")
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="channel_name_unique")]

    def __str__(self) -> str:
        return self.name


class Notice(models.Model):
    """What a channel has been told of one alert, compared with what is so when it is due."""

    channel = models.ForeignKey(Channel, models.CASCADE, related_name="notices")
    alert = models.ForeignKey(Alert, models.CASCADE, related_name="notices")
    # The severity that it was told of; empty while, for all that it was told, nothing is wrong.
    told = models.CharField(max_length=7, choices=AlertSeverity.choices, blank=True, default="")
    due_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["channel", "alert"], name="notice_once_per_channel")
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="notice_due")
        ]

    def __str__(self) -> str:
        return f"alert {self.alert_id} for channel {self.channel_id}"


class Delivery(models.Model):
    """One message to one channel, written before it is sent. A channel's go one after the other."""

    channel = models.ForeignKey(Channel, models.CASCADE, related_name="deliveries")
    kind = models.CharField(max_length=7, choices=DeliveryKind.choices)
    # By which a receiver knows a message that he has had already.
    key = models.UUIDField(default=uuid.uuid4, unique=True)
    # The whole message as JSON, byte for byte the same at each attempt.
    body = models.TextField()

    phase = models.CharField(
        max_length=7, choices=DeliveryPhase.choices, default=DeliveryPhase.WAITING
    )
    outcome = models.CharField(
        max_length=9, choices=DeliveryOutcome.choices, blank=True, default=""
    )
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    # When to try again; every message on its way has such a time.
    due_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="delivery_outcome_when_closed",
                condition=Q(phase=DeliveryPhase.CLOSED, due_at__isnull=True) & ~Q(outcome="")
                | Q(phase=DeliveryPhase.WAITING, due_at__isnull=False, outcome=""),
            )
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="delivery_due")
        ]

    def __str__(self) -> str:
        return f"message {self.key}"
