"""Knows the agents of what takes part in application-consistent backup.

Rows follow the targets. What AWS says of them is read every two minutes, account by account and
region by region, for those alone.
"""

from datetime import datetime, timedelta

import structlog
from django.db.models import QuerySet

from cpm.engine import accounts, bulk, jobs
from cpm.engine.settings import AgentLooks
from cpm.kernel import clock, times
from cpm.kernel.faults import Fault
from cpm.models.accounts import Account
from cpm.models.agents import Agent, AgentStatus
from cpm.models.policies import Target
from cpm.resources import contract, registry

log = structlog.get_logger(__name__)

_INTERVAL = timedelta(minutes=2)
# Agents give a sign of life every five minutes.
_LONGEST_SILENCE = timedelta(minutes=5)
_SEEN = ["status", "platform", "version", "last_heartbeat_at"]


def taking_part() -> QuerySet[Target]:
    """The targets that are to have an agent."""
    return Target.objects.filter(options__agent_enabled=True)


def is_due(now: datetime) -> bool:
    """Whether it is time to ask AWS again, if there is anybody to ask for."""
    if not times.has_passed(_INTERVAL, AgentLooks.current().last_look_time, now):
        return False
    return taking_part().exists() or Agent.objects.exists()


@jobs.LIST_AGENTS.runs
def list_all() -> None:
    """Let the rows follow the targets, and have AWS asked about all of them."""
    AgentLooks.change(last_look_time=times.to_wire(clock.now()))
    _follow_targets()
    places = Agent.objects.order_by().values_list("account", "kind", "region").distinct()
    jobs.defer_agents(places)


@jobs.LOOK_AT_AGENTS.runs
def look(account_id: int, kind: str, region: str) -> None:
    """Ask AWS about the agents of one account and region; silence counts though it is away."""
    account = Account.objects.select_related("assume_from_account").filter(pk=account_id).first()
    agents = list(Agent.objects.filter(account=account_id, kind=kind, region=region))
    if account is None or not agents:
        return
    found = _found(account, kind, region, agents)
    bulk.update([agent for agent in agents if _learn(agent, found.get(agent.instance_id))], _SEEN)


def _follow_targets() -> None:
    columns = ("policy__account", "kind", "region", "resource_id", "name")
    targets = taking_part().order_by("pk").values_list(*columns)
    wanted = {(where, *rest): name for where, *rest, name in targets}
    known = {
        (agent.account_id, agent.kind, agent.region, agent.instance_id): agent
        for agent in Agent.objects.all()
    }
    Agent.objects.filter(pk__in=[known[key].pk for key in known.keys() - wanted.keys()]).delete()
    new = [
        Agent(
            account_id=where, kind=kind, region=region, instance_id=resource_id, instance_name=name
        )
        for (where, kind, region, resource_id), name in wanted.items()
        if (where, kind, region, resource_id) not in known
    ]
    Agent.objects.bulk_create(new, batch_size=500, ignore_conflicts=True)
    renamed = []
    for key in known.keys() & wanted.keys():
        if known[key].instance_name != wanted[key]:
            known[key].instance_name = wanted[key]
            renamed.append(known[key])
    bulk.update(renamed, ["instance_name"])


def _found(
    account: Account, kind: str, region: str, agents: list[Agent]
) -> dict[str, contract.Agent]:
    find = registry.driver(kind).agents
    if find is None:
        return {}
    try:
        aws = accounts.aws_of(account, region).on_behalf_of(f"agents-{account.pk}")
        return {each.resource_id: each for each in find(aws, [one.instance_id for one in agents])}
    except Fault as fault:
        log.warning("agents.unknown", account=account.name, region=region, fault=str(fault))
        return {}


def _learn(agent: Agent, seen: contract.Agent | None) -> bool:
    """Put what AWS says into the row; False when it is nothing new."""
    before = [getattr(agent, name) for name in _SEEN]
    if seen is not None:
        agent.platform, agent.version = seen.platform or None, seen.version or None
        agent.last_heartbeat_at = seen.last_heartbeat_at
    heard_of = agent.last_heartbeat_at
    is_online = heard_of is not None and heard_of >= clock.now() - _LONGEST_SILENCE
    agent.status = AgentStatus.ONLINE if is_online else AgentStatus.OFFLINE
    return before != [getattr(agent, name) for name in _SEEN]
