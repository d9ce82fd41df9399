"""Settings of the server that root changes at run time, a row a section."""

from django.db import models


class Setting(models.Model):
    """One section of settings (`identifier`, `proxy`, `cleanup`, ...), as JSON."""

    section = models.CharField(max_length=32, primary_key=True)
    value = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.section
