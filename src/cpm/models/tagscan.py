"""Where tags are scanned for, and when next."""

from django.db import models

from cpm.models.accounts import Account


class TagScan(models.Model):
    """The scanning of one account in one region: a row that is looked at again and again."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="tag_scans")
    region = models.CharField(max_length=32)
    # Null while nobody has asked for a scan.
    due_at = models.DateTimeField(null=True, db_index=True)
    # Of the scan that is asked for: when it began, and how often AWS has been away since.
    started_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    version = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "region"], name="tag_scan_one_per_place")
        ]

    def __str__(self) -> str:
        return f"tag scan of account {self.account_id} in {self.region}"
