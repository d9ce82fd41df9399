"""A policy's copies in S3 on the wire."""

from typing import Annotated

from django.http import HttpResponse
from msgspec import UnsetType

from cpm.api import answers
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import SINCE_1_2, Shape, Shown
from cpm.models.policies import DurationUnit, StorageClass
from cpm.queries.policies import visible_to
from cpm.services import copy_to_s3
from cpm.services.access import Action
from cpm.services.copy_to_s3 import FIELDS


class CopyToS3(Shown):
    """Where the EBS snapshots of a policy are copied to in S3, and how long copies are kept."""

    enabled: bool
    repository: int | None
    frequency: int
    keep_generations: int | None
    keep_duration: int | None
    keep_duration_unit: DurationUnit
    retry_count: int
    timeout_hours: int
    delete_original_snapshots: Annotated[bool | UnsetType, SINCE_1_2]
    storage_class: Annotated[StorageClass | UnsetType, SINCE_1_2]


SHAPE = Shape(
    CopyToS3,
    (
        *("s3_enabled", "s3_repository", "s3_frequency", "s3_keep_generations"),
        *("s3_keep_duration", "s3_keep_duration_unit", "s3_retry_count", "s3_timeout_hours"),
        *("s3_deletes_originals", "s3_storage_class"),
    ),
    CopyToS3,
)


def show(request: Request, policy_id: int) -> HttpResponse:
    """Retrieve where the snapshots of a policy are copied to in S3."""
    return answers.one(request, request.rows(visible_to), policy_id, SHAPE)


def update(request: Request, policy_id: int) -> HttpResponse:
    """Update where the snapshots of a policy are copied to in S3."""
    visible = request.rows(visible_to)
    request.must_see(visible, policy_id)
    data = request.body(FIELDS)
    with answers.unchanged(request, visible, policy_id, SHAPE):
        copy_to_s3.update(policy_id, data, actor=request.person)
    return answers.one(request, visible, policy_id, SHAPE)


_PATH = "/policies/{id}/copy_to_s3/"

OPERATIONS = (
    Operation("GET", _PATH, show, Action.READ, answer=CopyToS3),
    Operation("PUT", _PATH, update, Action.CHANGE_BACKUPS, body=FIELDS, answer=CopyToS3),
)
