"""What happened, line by line: the logs of backups, recoveries, cleanup and tag scan."""

from django.db import models
from django.db.models import Q

from cpm.models.backups import Backup
from cpm.models.recoveries import Recovery


class Severity(models.TextChoices):
    """How much a log line matters."""

    INFO = "I", "Info"
    WARNING = "W", "Warning"
    ERROR = "E", "Error"


class Stream(models.TextChoices):
    """Logs that belong to no record."""

    CLEANUP = "cleanup"
    TAG_SCAN = "tagscan"


class Event(models.Model):
    """One log line: a code and its values; the text is made when it is shown.

    In a stream, the value `owner` is the id of the user whose objects the line speaks of.
    """

    at = models.DateTimeField()
    severity = models.CharField(max_length=1, choices=Severity.choices)
    code = models.CharField(max_length=48)
    values = models.JSONField(default=dict)
    backup = models.ForeignKey(Backup, models.CASCADE, null=True, related_name="events")
    recovery = models.ForeignKey(Recovery, models.CASCADE, null=True, related_name="events")
    stream = models.CharField(max_length=8, choices=Stream.choices, blank=True, default="")

    class Meta:
        indexes = [
            models.Index(
                fields=["backup", "id"], condition=Q(backup__isnull=False), name="event_backup"
            ),
            models.Index(
                fields=["recovery", "id"],
                condition=Q(recovery__isnull=False),
                name="event_recovery",
            ),
            models.Index(fields=["stream", "id"], condition=~Q(stream=""), name="event_stream"),
        ]

    def __str__(self) -> str:
        return self.code
