"""Every operation of the API, noun by noun."""

from cpm.api import accounts, policies, regions, schedules, targets, tokens, users
from cpm.api.operations import Router

OPERATIONS = (
    *tokens.OPERATIONS,
    *users.OPERATIONS,
    *accounts.OPERATIONS,
    *regions.OPERATIONS,
    *schedules.OPERATIONS,
    *policies.OPERATIONS,
    *targets.operations(),
)

ROUTER = Router(OPERATIONS)
