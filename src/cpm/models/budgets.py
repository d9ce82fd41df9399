"""How fast AWS may be called: one row for each account, region and action, shared by all."""

from django.db import models


class ApiBudget(models.Model):
    """A token bucket as the time at which it will have been emptied (see engine.budget)."""

    key = models.CharField(max_length=160, primary_key=True)
    spent_until = models.DateTimeField()
    per_second = models.FloatField()
    burst = models.FloatField()
    throttled_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.key
