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

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "name"], name="s3_repository_name_unique"),
            models.UniqueConstraint(
                fields=["user", "bucket_name", "prefix"], name="s3_repository_place_unique"
            ),
        ]

    def __str__(self) -> str:
        return self.name
