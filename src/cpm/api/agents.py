"""Agents on the wire."""

from datetime import datetime

from django.http.response import HttpResponseBase

from cpm.api import pages
from cpm.api.lists import Listing, by_column, by_text, choice, number
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import Shape, Shown
from cpm.models.agents import AgentStatus
from cpm.queries.agents import listed
from cpm.services.access import Action


class Agent(Shown):
    """The agent on an instance that takes part in application-consistent backup."""

    id: int
    instance_id: str
    instance_name: str | None
    user: int
    account: int
    region: str
    policies: list[int]
    status: AgentStatus
    platform: str | None
    version: str | None
    last_heartbeat: datetime | None


LISTING = Listing(
    Shape(
        Agent,
        (
            *("id", "instance_id", "instance_name", "account__user", "account", "region"),
            *("policy_ids", "status", "platform", "version", "last_heartbeat_at"),
        ),
        Agent,
    ),
    filters={
        "account": number("account"),
        "status": choice("status", AgentStatus),
        "user": number("account__user"),
    },
    search=("instance_id", "instance_name"),
    ordering={
        "instance_id": by_text("instance_id"),
        "instance_name": by_text("instance_name"),
        "account": by_column("account_id"),
        "status": by_text("status"),
    },
)


def index(request: Request) -> HttpResponseBase:
    """List the agents of instances that take part in application-consistent backup."""
    return pages.answer(request, request.rows(listed), LISTING)


OPERATIONS = (Operation("GET", "/agents/", index, Action.READ, listing=LISTING),)
