"""What people become who come through the identity provider: groups of users and of delegates."""

from django.db import models
from django.db.models import Q

from cpm.models.users import User, UserType


class GroupType(models.TextChoices):
    """Whether a group makes users or delegates."""

    USERS = "user", "Users"
    DELEGATES = "delegate", "Delegates"


class Group(models.Model):
    """What the members of one group of the identity provider are here."""

    group_type = models.CharField(max_length=8, choices=GroupType.choices)
    name = models.CharField(max_length=100, unique=True)
    enabled = models.BooleanField(default=True)
    # One that the server has brought along; it is neither renamed nor deleted.
    is_built_in = models.BooleanField(default=False)

    user_type = models.CharField(max_length=1, choices=UserType.choices, default=UserType.MANAGED)
    allow_file_level_recovery = models.BooleanField(default=True)
    max_accounts = models.PositiveIntegerField(null=True)
    max_instances = models.PositiveIntegerField(null=True)
    max_independent_ebs_gib = models.PositiveIntegerField(null=True)
    max_rds_gib = models.PositiveIntegerField(null=True)
    max_redshift_gib = models.PositiveIntegerField(null=True)
    max_dynamodb_gib = models.PositiveIntegerField(null=True)

    original_user = models.ForeignKey(
        User, models.CASCADE, null=True, related_name="delegate_groups"
    )
    allow_recovery = models.BooleanField(default=False)
    allow_account_changes = models.BooleanField(default=False)
    allow_backup_changes = models.BooleanField(default=False)
    allow_settings_changes = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="group_of_delegates_has_original",
                condition=Q(group_type=GroupType.DELEGATES, original_user__isnull=False)
                | Q(group_type=GroupType.USERS, original_user__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return self.name
