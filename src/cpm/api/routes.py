"""Every operation of the API, noun by noun."""

from cpm.api import (
    accounts,
    alerts,
    backups,
    policies,
    recoveries,
    regions,
    schedules,
    snapshots,
    targets,
    tokens,
    users,
)
from cpm.api.operations import Router

OPERATIONS = (
    *tokens.OPERATIONS,
    *users.OPERATIONS,
    *accounts.OPERATIONS,
    *regions.OPERATIONS,
    *schedules.OPERATIONS,
    *policies.OPERATIONS,
    *targets.operations(),
    *backups.OPERATIONS,
    *snapshots.operations(),
    *recoveries.operations(),
    *alerts.OPERATIONS,
)

ROUTER = Router(OPERATIONS)
