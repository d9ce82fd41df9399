"""What is protected, how often, and for how many generations."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from cpm.models.accounts import Account
from cpm.models.repositories import S3Repository
from cpm.models.schedules import Schedule
from cpm.models.users import User

DEFAULT_SHARING_KEY = "alias/cpm_share"


class AutoRemove(models.TextChoices):
    """What becomes of a target whose resource no longer exists."""

    NO = "N", "No"
    YES = "Y", "Yes"
    YES_AND_ALERT = "A", "Yes and alert"


class SuccessIndication(models.TextChoices):
    """What must have gone well for a backup to be a success."""

    SNAPSHOTS_AND_SCRIPTS = "S", "Snapshots and scripts"
    SNAPSHOTS = "L", "Snapshots alone"


class DurationUnit(models.TextChoices):
    """In what the age of copies in S3 is counted."""

    WEEKS = "W", "Weeks"
    MONTHS = "M", "Months"
    YEARS = "Y", "Years"


class StorageClass(models.TextChoices):
    """Where S3 keeps the data of copies, in S3's words."""

    STANDARD = "STANDARD"
    STANDARD_IA = "STANDARD_IA"
    ONEZONE_IA = "ONEZONE_IA"
    INTELLIGENT_TIERING = "INTELLIGENT_TIERING"
    GLACIER_IR = "GLACIER_IR"


class Policy(models.Model):
    """A set of targets in one account, its schedules, and how a run behaves."""

    user = models.ForeignKey(User, models.CASCADE, related_name="policies")
    account = models.ForeignKey(Account, models.PROTECT, related_name="policies")
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=1000, null=True)  # noqa: DJ001 - null stays null
    enabled = models.BooleanField(default=True)
    generations = models.PositiveSmallIntegerField(default=30)
    auto_remove_resource = models.CharField(
        max_length=1, choices=AutoRemove.choices, default=AutoRemove.NO
    )
    schedules = models.ManyToManyField(Schedule, through="PolicySchedule", related_name="policies")
    modified_at = models.DateTimeField()

    enable_agent_scripts = models.BooleanField(default=False)
    agent_script_timeout_seconds = models.PositiveIntegerField(default=30)
    collect_script_output = models.BooleanField(default=False)
    backup_success_indication = models.CharField(
        max_length=1,
        choices=SuccessIndication.choices,
        default=SuccessIndication.SNAPSHOTS_AND_SCRIPTS,
    )
    retry_count = models.PositiveSmallIntegerField(default=3)
    retry_wait_minutes = models.PositiveSmallIntegerField(default=1)
    alert_after_failures = models.PositiveSmallIntegerField(default=1)

    # Copies in other regions, and in another account; regions by their ids.
    dr_enabled = models.BooleanField(default=False)
    dr_frequency = models.PositiveSmallIntegerField(default=1)
    dr_timeout_hours = models.PositiveSmallIntegerField(default=24)
    dr_regions = ArrayField(models.PositiveSmallIntegerField(), default=list)
    dr_crosses_accounts = models.BooleanField(default=False)
    dr_account = models.ForeignKey(
        Account, models.PROTECT, null=True, related_name="policies_that_copy"
    )
    dr_account_regions = ArrayField(models.PositiveSmallIntegerField(), default=list)
    dr_keeps_originals = models.BooleanField(default=True)
    dr_sharing_key = models.CharField(max_length=2048, default=DEFAULT_SHARING_KEY)
    # Full successes since it was enabled; the first and every `dr_frequency`-th are copied.
    dr_successes = models.PositiveIntegerField(default=0)

    # Copies in an S3 repository, which have a retention of their own; null has no say in it.
    s3_enabled = models.BooleanField(default=False)
    s3_repository = models.ForeignKey(
        S3Repository, models.RESTRICT, null=True, related_name="policies"
    )
    s3_frequency = models.PositiveSmallIntegerField(default=1)
    s3_keep_generations = models.PositiveSmallIntegerField(null=True)
    s3_keep_duration = models.PositiveSmallIntegerField(null=True)
    s3_keep_duration_unit = models.CharField(
        max_length=1, choices=DurationUnit.choices, default=DurationUnit.MONTHS
    )
    s3_retry_count = models.PositiveSmallIntegerField(default=3)
    s3_timeout_hours = models.PositiveSmallIntegerField(default=24)
    s3_deletes_originals = models.BooleanField(default=False)
    s3_storage_class = models.CharField(
        max_length=19, choices=StorageClass.choices, default=StorageClass.STANDARD
    )
    # As `dr_successes`.
    s3_successes = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name_plural = "policies"
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="policy_name_unique")]

    def __str__(self) -> str:
        return self.name


class PolicySchedule(models.Model):
    """One schedule of one policy, and the next grid time at which it is due.

    `next_run_at` is set from the present whenever the policy, the schedule or this link is enabled
    or changed, so nothing ever runs for a time that was past by then.
    """

    policy = models.ForeignKey(Policy, models.CASCADE, related_name="links")
    schedule = models.ForeignKey(Schedule, models.CASCADE, related_name="links")
    next_run_at = models.DateTimeField(null=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["policy", "schedule"], name="policy_schedule_unique")
        ]

    def __str__(self) -> str:
        return f"policy {self.policy_id} at {self.next_run_at}"


class Target(models.Model):
    """One AWS resource that a policy protects; `options` belong to the driver of its kind."""

    policy = models.ForeignKey(Policy, models.CASCADE, related_name="targets")
    kind = models.CharField(max_length=32)
    resource_id = models.CharField(max_length=255)
    region = models.CharField(max_length=32)
    name = models.CharField(max_length=256, null=True)  # noqa: DJ001 - null is "has no name"
    size_gib = models.PositiveIntegerField(default=0)
    is_missing = models.BooleanField(default=False)
    # The start of the last backup of the policy that has protected all of it.
    protected_at = models.DateTimeField(null=True)
    added_by_tag = models.BooleanField(default=False)
    # What the tag said when the options were last taken from it; empty once they were changed.
    tag = models.CharField(max_length=300, blank=True, default="")
    options = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["policy", "kind", "resource_id", "region"], name="target_unique"
            )
        ]
        indexes = [
            # Other policies may protect the same resource.
            models.Index(fields=["resource_id"], name="target_resource"),
            models.Index(
                fields=["resource_id"],
                condition=models.Q(options__agent_enabled=True),
                name="target_with_agent",
            ),
        ]

    def __str__(self) -> str:
        return self.resource_id


class TargetVolume(models.Model):
    """A volume named for inclusion in, or exclusion from, the backups of an instance target.

    One that was added by its own tag is left out, whatever the target's mode says of the others.
    """

    target = models.ForeignKey(Target, models.CASCADE, related_name="volumes")
    volume_id = models.CharField(max_length=64)
    device = models.CharField(max_length=64, null=True)  # noqa: DJ001 - null is "not attached"
    size_gib = models.PositiveIntegerField(null=True)
    added_by_tag = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["target", "volume_id"], name="target_volume_unique")
        ]

    def __str__(self) -> str:
        return self.volume_id
