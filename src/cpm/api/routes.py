"""Every operation of the API, noun by noun."""

from cpm.api import (
    accounts,
    agents,
    alerts,
    backups,
    copy_to_s3,
    delegates,
    dr,
    groups,
    notifications,
    policies,
    protected,
    recoveries,
    regions,
    reports,
    repositories,
    schedules,
    schema,
    settings,
    snapshots,
    support,
    targets,
    tokens,
    usage,
    users,
    workers,
)
from cpm.api.operations import Router

_NOUNS = (
    *tokens.OPERATIONS,
    *users.OPERATIONS,
    *delegates.OPERATIONS,
    *accounts.OPERATIONS,
    *regions.OPERATIONS,
    *schedules.OPERATIONS,
    *repositories.OPERATIONS,
    *workers.OPERATIONS,
    *policies.OPERATIONS,
    *dr.OPERATIONS,
    *copy_to_s3.OPERATIONS,
    *targets.operations(),
    *backups.OPERATIONS,
    *snapshots.operations(),
    *recoveries.operations(),
    *alerts.OPERATIONS,
    *notifications.OPERATIONS,
    *agents.OPERATIONS,
    *groups.operations(),
    *reports.OPERATIONS,
    *protected.OPERATIONS,
    *usage.OPERATIONS,
    *support.OPERATIONS,
    *settings.OPERATIONS,
)

OPERATIONS = (*_NOUNS, *schema.operations(_NOUNS))

ROUTER = Router(OPERATIONS)
