"""Writes of a policy's disaster recovery: where its snapshots are copied to, and how often."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from cpm.engine.settings import Licence
from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.policies import Policy
from cpm.queries import policies
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.services import access, audit, references
from cpm.services.access import Action
from cpm.services.errors import Unlicensed
from cpm.services.fields import Field, Fields
from cpm.services.given import Given
from cpm.services.kinds import array, boolean, integer, reference, region, text

FIELDS = Fields(
    (
        Field("enabled", boolean()),
        Field("frequency", integer(1, 100), description="Every n-th successful backup is copied."),
        Field("timeout_hours", integer(1, 168)),
        Field("target_regions", array(region())),
        Field("cross_account_enabled", boolean()),
        Field("cross_account_dr_account", reference(), nullable=True),
        Field(
            "cross_account_target_regions",
            array(region()),
            description="The original's own region where none is named.",
        ),
        Field("keep_original_snapshots", boolean()),
        Field(
            "sharing_kms_key",
            text(str.strip, max_length=2048),
            description="What shares originals that AWS's own key encrypts, by id, alias or ARN.",
        ),
    )
)

_COLUMNS = {
    "enabled": "dr_enabled",
    "frequency": "dr_frequency",
    "timeout_hours": "dr_timeout_hours",
    "target_regions": "dr_regions",
    "cross_account_enabled": "dr_crosses_accounts",
    "cross_account_dr_account": "dr_account_id",
    "cross_account_target_regions": "dr_account_regions",
    "keep_original_snapshots": "dr_keeps_originals",
    "sharing_kms_key": "dr_sharing_key",
}
_REGIONS = ("target_regions", "cross_account_target_regions")


@transaction.atomic
def update(policy_id: int, data: Mapping[str, object], *, actor: Person) -> None:
    """Change what `data` holds.

    Raises `Forbidden`, `NotFound`, `Unlicensed` and `Invalid`.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    rows = policies.visible_to(actor).select_for_update(of=("self",), no_key=True)
    policy = one(rows, policy_id)
    given = FIELDS.read(data, partial=True)
    for name in _REGIONS:
        if name in given:
            given[name] = list(dict.fromkeys(given[name]))
    _check(given, policy)
    columns = {_COLUMNS[name]: value for name, value in given.items()}
    if given.get("enabled") and not policy.dr_enabled:
        columns["dr_successes"] = 0
    Policy.objects.filter(pk=policy.pk).update(**columns, modified_at=clock.now())
    audit.record(actor, "update policy DR", policy.name, ", ".join(given))


def _check(given: Given, policy: Policy) -> None:
    """Raise unless what is given and what is there make sense together."""

    def wanted(name: str) -> Any:
        return given.get(name, getattr(policy, _COLUMNS[name]))

    crosses = wanted("cross_account_enabled")
    if crosses and not Licence.current().cross_account:
        raise Unlicensed("The licence does not cover work across accounts.")
    _refuse_foreign_account(given, policy)
    refused = {problem.field for problem in given.problems}
    if crosses and not wanted("cross_account_dr_account"):
        _require(given, "cross_account_dr_account", refused, "Name the account to copy to.")
    if wanted("enabled") and not (wanted("target_regions") or crosses):
        _require(given, "target_regions", refused, "Name a region or an account to copy to.")
    given.check()


def _refuse_foreign_account(given: Given, policy: Policy) -> None:
    """Copies go to a DR account of the policy's owner, locked here against being deleted."""
    named = given.get("cross_account_dr_account")
    if named is None:
        return
    own = Account.objects.filter(user_id=policy.user_id, is_dr_account=True, pk=named)
    if not own.select_for_update(no_key=True).exists():
        references.refuse(given, "cross_account_dr_account", named)


def _require(given: Given, name: str, refused: set[str], message: str) -> None:
    """Note that a field is needed, unless there is something wrong with it already."""
    if name not in refused:
        given.refuse(name, "required", message)
