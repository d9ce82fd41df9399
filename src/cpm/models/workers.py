"""Where data is moved: the machines that are launched for it, by account and region."""

from django.db import models

from cpm.models.accounts import Account
from cpm.models.users import User


class NetworkAccess(models.TextChoices):
    """How a machine reaches the server and AWS."""

    DIRECT = "D", "Direct"
    PROXY = "P", "By a proxy"


class Worker(models.Model):
    """What a machine that moves data of an account in a region is launched with.

    Where a text is null, whoever launches it chooses.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="workers")
    account = models.ForeignKey(Account, models.RESTRICT, related_name="workers")
    region = models.CharField(max_length=32)
    key_pair = models.CharField(max_length=255, null=True)  # noqa: DJ001 - null is "unset"
    vpc = models.CharField(max_length=64, null=True)  # noqa: DJ001 - null is "unset"
    subnet = models.CharField(max_length=64, null=True)  # noqa: DJ001 - null is "unset"
    security_group = models.CharField(max_length=64, null=True)  # noqa: DJ001 - null is "unset"
    network_access = models.CharField(
        max_length=1, choices=NetworkAccess.choices, default=NetworkAccess.DIRECT
    )
    proxy_address = models.CharField(max_length=255, blank=True, default="")
    proxy_port = models.PositiveIntegerField(null=True)
    proxy_user = models.CharField(max_length=255, blank=True, default="")
    sealed_proxy_password = models.BinaryField(null=True)
    instance_type = models.CharField(max_length=64, null=True)  # noqa: DJ001 - null is "unset"
    max_parallel_blocks = models.PositiveIntegerField(null=True)

    # Machines that came to nothing, one after the other; until when none is launched after that.
    failures = models.PositiveSmallIntegerField(default=0)
    paused_until = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "account", "region"], name="worker_unique")
        ]

    def __str__(self) -> str:
        return f"{self.account.name} {self.region}"
