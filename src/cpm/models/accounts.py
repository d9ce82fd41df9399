"""AWS accounts and how the server gets into them."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from cpm.models.users import User


class Authentication(models.TextChoices):
    """How the server proves itself to AWS for one account (guide 3.1)."""

    IAM_USER = "C", "IAM User"
    INSTANCE_ROLE = "R", "CPM Instance IAM Role"
    ASSUME_ROLE = "A", "Assume Role"


class Account(models.Model):
    """One AWS account, protected (backup) or receiving copies (DR)."""

    user = models.ForeignKey(User, models.CASCADE, related_name="accounts")
    name = models.CharField(max_length=100)
    authentication = models.CharField(max_length=1, choices=Authentication.choices)
    is_dr_account = models.BooleanField(default=False)

    aws_access_key = models.CharField(max_length=128, blank=True, default="")
    sealed_secret = models.BinaryField(null=True)
    account_number = models.CharField(max_length=12, blank=True, default="")
    # With its path, if it has one.
    role_name = models.CharField(max_length=576, blank=True, default="")
    external_id = models.CharField(max_length=1224, null=True)  # noqa: DJ001 - null is "unset"
    assume_from_account = models.ForeignKey(
        "self", models.PROTECT, null=True, related_name="assumed_by"
    )

    scan_tagged_resources = models.BooleanField(default=False)
    scan_regions = ArrayField(models.PositiveSmallIntegerField(), default=list)
    capture_vpcs = models.BooleanField(default=True)
    allow_deleting_snapshots = models.BooleanField(default=True)

    # What STS last said: the account behind the credentials, whoever they belong to.
    aws_account_number = models.CharField(max_length=12, blank=True, default="")
    # When what exists in it was last looked at to the end; null while nobody has looked.
    discovered_at = models.DateTimeField(null=True)
    # Rises with every change of credentials, so that cached sessions are not used any longer.
    credentials_version = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="account_name_unique")]

    def __str__(self) -> str:
        return self.name
