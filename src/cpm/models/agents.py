"""Agents on resources that take part in application-consistent backup."""

from django.db import models

from cpm.models.accounts import Account


class AgentStatus(models.TextChoices):
    """Whether an agent answers: the letters of `status` on the wire."""

    ONLINE = "O", "Online"
    OFFLINE = "F", "Offline"


class Agent(models.Model):
    """What is known of one agent; there is a row for each resource that is to have one."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="agents")
    kind = models.CharField(max_length=32)
    region = models.CharField(max_length=32)
    instance_id = models.CharField(max_length=255)
    instance_name = models.CharField(max_length=256, null=True)  # noqa: DJ001 - "has no name"
    status = models.CharField(
        max_length=1, choices=AgentStatus.choices, default=AgentStatus.OFFLINE
    )
    # Null as long as it has never been heard of.
    platform = models.CharField(max_length=300, null=True)  # noqa: DJ001 - likewise
    version = models.CharField(max_length=64, null=True)  # noqa: DJ001 - likewise
    last_heartbeat_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "kind", "region", "instance_id"], name="agent_unique"
            )
        ]

    def __str__(self) -> str:
        return f"agent of {self.instance_id}"
