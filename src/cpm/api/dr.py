"""A policy's disaster recovery on the wire."""

from typing import Annotated

from django.http import HttpResponse
from msgspec import UnsetType

from cpm.api import answers
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import SINCE_1_2, Shape, Shown
from cpm.queries.policies import visible_to
from cpm.services import dr
from cpm.services.access import Action
from cpm.services.dr import FIELDS


class Dr(Shown):
    """Where the snapshots of a policy are copied to, and how often."""

    enabled: bool
    frequency: int
    timeout_hours: int
    target_regions: list[int]
    cross_account_enabled: bool
    cross_account_dr_account: int | None
    cross_account_target_regions: list[int]
    keep_original_snapshots: bool
    sharing_kms_key: Annotated[str | UnsetType, SINCE_1_2]


SHAPE = Shape(
    Dr,
    (
        *("dr_enabled", "dr_frequency", "dr_timeout_hours", "dr_regions"),
        *("dr_crosses_accounts", "dr_account", "dr_account_regions"),
        *("dr_keeps_originals", "dr_sharing_key"),
    ),
    Dr,
)


def show(request: Request, policy_id: int) -> HttpResponse:
    """Retrieve where the snapshots of a policy are copied to."""
    return answers.one(request, request.rows(visible_to), policy_id, SHAPE)


def update(request: Request, policy_id: int) -> HttpResponse:
    """Update where the snapshots of a policy are copied to; lists are replaced as a whole."""
    visible = request.rows(visible_to)
    request.must_see(visible, policy_id)
    data = request.body(FIELDS)
    with answers.unchanged(request, visible, policy_id, SHAPE):
        dr.update(policy_id, data, actor=request.person)
    return answers.one(request, visible, policy_id, SHAPE)


_PATH = "/policies/{id}/dr/"

OPERATIONS = (
    Operation("GET", _PATH, show, Action.READ, answer=Dr),
    Operation("PUT", _PATH, update, Action.CHANGE_BACKUPS, body=FIELDS, answer=Dr),
)
