"""Who changed what, when, and from where."""

from django.db import models

from cpm.models.users import User


class AuditEntry(models.Model):
    """One change or log-in. Names are copied: the row outlives those that it speaks of.

    The database refuses to change or delete rows (migration `audit_is_append_only`), but for those
    that are older than the settings of cleanup keep them, and for the reference to a deleted user.
    """

    at = models.DateTimeField(db_index=True)
    # Whose trail it belongs to; null for the server's own.
    user = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    user_name = models.CharField(max_length=150, blank=True)
    delegate_name = models.CharField(max_length=150, blank=True)
    event_type = models.CharField(max_length=48)
    object = models.CharField(max_length=300, blank=True)
    description = models.TextField(blank=True)
    source_address = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.event_type} {self.object}"
