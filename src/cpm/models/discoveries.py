"""What exists in the accounts, protected or not, as of the last look."""

from django.db import models

from cpm.models.accounts import Account


class Discovered(models.Model):
    """A resource that AWS has listed."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="discovered")
    kind = models.CharField(max_length=32)
    region = models.CharField(max_length=32)
    resource_id = models.CharField(max_length=255)
    name = models.CharField(max_length=256, null=True)  # noqa: DJ001 - "has no name"
    # The instance that a volume is attached to, and protected with; empty for what stands alone.
    part_of = models.CharField(max_length=255, blank=True, default="")
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "kind", "region", "resource_id"], name="discovered_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.resource_id}"
