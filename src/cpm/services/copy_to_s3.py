"""Writes of a policy's copies in S3: where they go, how often, and how long they are kept."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from cpm.kernel import clock
from cpm.models.policies import DurationUnit, Policy, StorageClass
from cpm.models.repositories import S3Repository
from cpm.queries import policies
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.services import access, audit, references
from cpm.services.access import Action
from cpm.services.fields import Field, Fields
from cpm.services.given import Given
from cpm.services.kinds import boolean, choice, integer, reference

FIELDS = Fields(
    (
        Field("enabled", boolean()),
        Field("repository", reference(), nullable=True),
        Field("frequency", integer(1, 100), description="Every n-th successful backup is copied."),
        Field(
            "keep_generations",
            integer(1, 9999),
            nullable=True,
            description="A copy goes when it is beyond these and older than `keep_duration`;"
            " null has no say, and where both are null copies stay for ever.",
        ),
        Field("keep_duration", integer(1, 9999), nullable=True),
        Field("keep_duration_unit", choice(*DurationUnit)),
        Field("retry_count", integer(0, 10)),
        Field("timeout_hours", integer(1, 168)),
        Field(
            "delete_original_snapshots",
            boolean(),
            description="Whether originals go once their copies are complete.",
        ),
        Field("storage_class", choice(*StorageClass)),
    )
)

_COLUMNS = {
    "enabled": "s3_enabled",
    "repository": "s3_repository_id",
    "frequency": "s3_frequency",
    "keep_generations": "s3_keep_generations",
    "keep_duration": "s3_keep_duration",
    "keep_duration_unit": "s3_keep_duration_unit",
    "retry_count": "s3_retry_count",
    "timeout_hours": "s3_timeout_hours",
    "delete_original_snapshots": "s3_deletes_originals",
    "storage_class": "s3_storage_class",
}


@transaction.atomic
def update(policy_id: int, data: Mapping[str, object], *, actor: Person) -> None:
    """Change what `data` holds. Raises `Forbidden`, `NotFound` and `Invalid`."""
    access.require(actor, Action.CHANGE_BACKUPS)
    rows = policies.visible_to(actor).select_for_update(of=("self",), no_key=True)
    policy = one(rows, policy_id)
    given = FIELDS.read(data, partial=True)
    _refuse_foreign_repository(given, policy)
    _require_repository(given, policy)
    given.check()
    columns: dict[str, Any] = {_COLUMNS[name]: value for name, value in given.items()}
    if given.get("enabled") and not policy.s3_enabled:
        columns["s3_successes"] = 0
    Policy.objects.filter(pk=policy.pk).update(**columns, modified_at=clock.now())
    audit.record(actor, "update policy copy to S3", policy.name, ", ".join(given))


def _refuse_foreign_repository(given: Given, policy: Policy) -> None:
    """Copies go to a repository of the policy's owner, locked here against being deleted."""
    named = given.get("repository")
    if named is None:
        return
    own = S3Repository.objects.filter(user_id=policy.user_id, pk=named)
    if not own.select_for_update(no_key=True).exists():
        references.refuse(given, "repository", named)


def _require_repository(given: Given, policy: Policy) -> None:
    """Note that what is enabled needs a repository, unless one that is named is wrong already."""
    is_enabled = given.get("enabled", policy.s3_enabled)
    repository = given.get("repository", policy.s3_repository_id)
    if is_enabled and not repository and "repository" not in {e.field for e in given.problems}:
        given.refuse("repository", "required", "Name a repository to copy to.")
