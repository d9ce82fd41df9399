"""What somebody should look at."""

from django.db import models
from django.db.models import Q

from cpm.models.policies import Policy
from cpm.models.users import User


class AlertCategory(models.TextChoices):
    """Which part of the product raises an alert."""

    BACKUP = "Backup"
    DR = "DR"
    S3_COPY = "S3 Copy"
    RECOVERY = "Recovery"
    CLEANUP = "Cleanup"
    TAG_SCAN = "Tag Scan"
    ACCOUNT = "Account"
    SYSTEM = "System"


class AlertSeverity(models.TextChoices):
    """How much an alert matters."""

    ERROR = "Error"
    WARNING = "Warning"
    INFO = "Info"


class Alert(models.Model):
    """One cause for concern; open until the cause is gone, and never open twice."""

    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="alerts")
    cause = models.CharField(max_length=255)
    category = models.CharField(max_length=8, choices=AlertCategory.choices)
    severity = models.CharField(max_length=7, choices=AlertSeverity.choices)
    title = models.CharField(max_length=200)
    message = models.TextField()
    policy = models.ForeignKey(Policy, models.SET_NULL, null=True, related_name="alerts")
    raised_at = models.DateTimeField()
    count = models.PositiveIntegerField(default=1)
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["cause"], condition=Q(resolved_at__isnull=True), name="alert_one_per_cause"
            )
        ]

    def __str__(self) -> str:
        return self.title
