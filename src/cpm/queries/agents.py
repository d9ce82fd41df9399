"""Reads of agents."""

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, QuerySet

from cpm.engine.agents import taking_part
from cpm.models.agents import Agent
from cpm.queries.people import Person, owned_by


def listed(viewer: Person) -> QuerySet[Agent]:
    """The agents that somebody sees, with the ids of the policies that count on them."""
    policies = taking_part().filter(
        policy__account=OuterRef("account"),
        kind=OuterRef("kind"),
        region=OuterRef("region"),
        resource_id=OuterRef("instance_id"),
    )
    ids = policies.order_by("policy_id").values("policy_id")
    return Agent.objects.filter(owned_by(viewer, "account__user")).annotate(
        policy_ids=ArraySubquery(ids)
    )
