"""S3 repositories: where snapshots are copied to, outside EBS."""

from django.db import models

from cpm.models.accounts import Account
from cpm.models.users import User


class Encryption(models.TextChoices):
    """What protects the content of a repository: the bucket's own encryption, or ours before it."""

    S3 = "S", "By S3"
    KMS = "K", "By a KMS key"
    CLIENT_SIDE = "C", "Client-side"


class S3Repository(models.Model):
    """One archive in a bucket, below a prefix."""

    user = models.ForeignKey(User, models.CASCADE, related_name="s3_repositories")
    account = models.ForeignKey(Account, models.RESTRICT, related_name="s3_repositories")
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=1000, null=True)  # noqa: DJ001 - null is "unset"
    bucket_name = models.CharField(max_length=63)
    # Without slashes at its ends.
    prefix = models.CharField(max_length=512)
    # Empty until AWS was asked.
    aws_region = models.CharField(max_length=32, blank=True, default="")
    encryption = models.CharField(max_length=1, choices=Encryption.choices, default=Encryption.S3)
    # What opens the archive's key, either of both: a passphrase, and the ARN of a KMS key.
    sealed_passphrase = models.BinaryField(null=True)
    kms_key = models.CharField(max_length=2048, blank=True, default="")

    # What its snapshots hold, and what is stored of it.
    size_bytes = models.BigIntegerField(default=0)
    stored_bytes = models.BigIntegerField(default=0)
    last_verified_at = models.DateTimeField(null=True)

    # When its garbage is collected and its next portion verified; null until that is counted.
    collect_due_at = models.DateTimeField(null=True)
    verify_due_at = models.DateTimeField(null=True)
    # The round of verification that is under way: its portions, and how many of them were read.
    round_started_at = models.DateTimeField(null=True)
    round_portions = models.PositiveIntegerField(default=0)
    round_done = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "name"], name="s3_repository_name_unique"),
            models.UniqueConstraint(
                fields=["user", "bucket_name", "prefix"], name="s3_repository_place_unique"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ArchiveDamage(models.Model):
    """An object of an archive that is not what was written, or a place in it."""

    repository = models.ForeignKey(S3Repository, models.CASCADE, related_name="damages")
    name = models.CharField(max_length=512)
    # 0 is all of it.
    offset = models.BigIntegerField(default=0)
    why = models.TextField()
    found_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["repository", "name", "offset"], name="archive_damage_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} at {self.offset}"
