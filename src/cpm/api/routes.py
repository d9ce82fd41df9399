"""Every operation of the API, noun by noun."""

from cpm.api import schedules, tokens
from cpm.api.operations import Router

OPERATIONS = (*tokens.OPERATIONS, *schedules.OPERATIONS)

ROUTER = Router(OPERATIONS)
