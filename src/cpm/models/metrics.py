"""What the processes of the server have counted, all together."""

from django.db import models


class Metric(models.Model):
    """One series, written as in Prometheus's text format, and how far it has come."""

    series = models.CharField(max_length=255, primary_key=True)
    value = models.FloatField()

    def __str__(self) -> str:
        return self.series
