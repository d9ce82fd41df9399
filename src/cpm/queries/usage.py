"""Reads of what users have: accounts, policies, what these protect, and snapshots."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Count, QuerySet

from cpm.engine import usage
from cpm.models.accounts import Account
from cpm.models.policies import Policy
from cpm.models.snapshots import Snapshot, SnapshotStatus

# What the limits count, in the order in which it is reported.
LIMITS = (
    *("max_instances", "max_independent_ebs_gib", "max_rds_gib"),
    *("max_redshift_gib", "max_dynamodb_gib"),
)

Totals = Mapping[int, int]


def totals() -> tuple[Totals, ...]:
    """How many of each there are as of now, by the id of the user: accounts, policies, what each
    of `LIMITS` counts, and snapshots that AWS keeps.
    """
    limited = (usage.totals(limit) for limit in LIMITS)
    kept = Snapshot.objects.filter(status=SnapshotStatus.SUCCEEDED, backup__discarded_at=None)
    return (
        _by_user(Account.objects.all(), "user"),
        _by_user(Policy.objects.all(), "user"),
        *limited,
        _by_user(kept, "backup__user"),
    )


def _by_user(rows: QuerySet[Any], path: str) -> Totals:
    counted = rows.order_by().values(path).annotate(count=Count("pk"))
    return dict(counted.values_list(path, "count"))
