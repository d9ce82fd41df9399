"""When policies run."""

from django.db import models

from cpm.models.users import User


class Schedule(models.Model):
    """A grid of times (guide 1.9), with the days and hours on which nothing runs."""

    user = models.ForeignKey(User, models.CASCADE, related_name="schedules")
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=1000, null=True)  # noqa: DJ001 - null stays null
    every_unit = models.CharField(max_length=1)
    every_how_many = models.PositiveSmallIntegerField()
    start_at = models.DateTimeField()
    end_at = models.DateTimeField(null=True)
    allow_on_sunday = models.BooleanField(default=True)
    allow_on_monday = models.BooleanField(default=True)
    allow_on_tuesday = models.BooleanField(default=True)
    allow_on_wednesday = models.BooleanField(default=True)
    allow_on_thursday = models.BooleanField(default=True)
    allow_on_friday = models.BooleanField(default=True)
    allow_on_saturday = models.BooleanField(default=True)
    disable_times = models.JSONField(default=list)
    modified_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "name"], name="schedule_name_unique")
        ]

    def __str__(self) -> str:
        return self.name
