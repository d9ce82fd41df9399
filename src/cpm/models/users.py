"""People: users and their delegates in one table, so that a name belongs to one person."""

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower


class UserType(models.TextChoices):
    """What a user may be: the letters of `user_type` on the wire."""

    ROOT = "R", "Root"
    INDEPENDENT = "I", "Independent"
    MANAGED = "M", "Managed"


class UserKind(models.TextChoices):
    """What a person may be: a type of user, a delegate of one, or gone.

    Of users who are gone nothing is seen any longer, while what they have left is removed.
    """

    ROOT = "R", "Root"
    INDEPENDENT = "I", "Independent"
    MANAGED = "M", "Managed"
    DELEGATE = "D", "Delegate"
    GONE = "X", "Gone"


class UserManager(BaseUserManager["User"]):
    """Finds people by name whatever the case."""

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(username__iexact=username)


class User(AbstractBaseUser):
    """A person who logs in, owns objects (a user) or acts for one who does (a delegate)."""

    username = models.CharField(max_length=150)
    email = models.CharField(max_length=254, blank=True, default="")
    kind = models.CharField(max_length=1, choices=UserKind.choices)
    original_user = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="delegates"
    )
    is_active = models.BooleanField(default=True)
    is_idp_user = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    allow_account_changes = models.BooleanField(default=True)
    allow_file_level_recovery = models.BooleanField(default=True)
    allow_backup_changes = models.BooleanField(default=False)
    allow_recovery = models.BooleanField(default=False)
    allow_settings_changes = models.BooleanField(default=False)

    max_accounts = models.PositiveIntegerField(null=True, blank=True)
    max_instances = models.PositiveIntegerField(null=True, blank=True)
    max_independent_ebs_gib = models.PositiveIntegerField(null=True, blank=True)
    max_rds_gib = models.PositiveIntegerField(null=True, blank=True)
    max_redshift_gib = models.PositiveIntegerField(null=True, blank=True)
    max_dynamodb_gib = models.PositiveIntegerField(null=True, blank=True)

    # When he is told once a day how things stand; an empty zone is the server's.
    summary_enabled = models.BooleanField(default=False)
    summary_hour = models.PositiveSmallIntegerField(default=8)
    summary_time_zone = models.CharField(max_length=64, blank=True, default="")
    summary_due_at = models.DateTimeField(null=True, blank=True)

    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("username"), name="user_name_unique"),
            models.CheckConstraint(
                name="user_delegate_has_original",
                condition=models.Q(kind=UserKind.DELEGATE, original_user__isnull=False)
                | (~models.Q(kind=UserKind.DELEGATE) & models.Q(original_user__isnull=True)),
            ),
            models.UniqueConstraint(
                fields=["kind"], condition=models.Q(kind=UserKind.ROOT), name="user_one_root"
            ),
        ]
        indexes = [
            models.Index(
                fields=["summary_due_at"],
                condition=models.Q(summary_due_at__isnull=False),
                name="user_summary_due",
            )
        ]

    def __str__(self) -> str:
        return self.username


class ApiKey(models.Model):
    """The API Authentication Key of one person; only its SHA-256 is stored.

    A new key is a new row: tokens name the row they came from, so ending a key ends its tokens.
    """

    user = models.OneToOneField(User, models.CASCADE, related_name="api_key")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"API key {self.pk}"


class UsedAssertion(models.Model):
    """An assertion of the identity provider that has let somebody in, until it would not any more.

    `digest` is the SHA-256 of the provider's name and the assertion's id.
    """

    digest = models.CharField(max_length=64, primary_key=True)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.digest


class BadAttempt(models.Model):
    """How often an address or a name has failed to prove itself in the running window."""

    scope = models.CharField(max_length=32)
    subject = models.CharField(max_length=255)
    window_started_at = models.DateTimeField()
    count = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["scope", "subject"], name="attempt_unique")]

    def __str__(self) -> str:
        return f"{self.scope} {self.subject}: {self.count}"
