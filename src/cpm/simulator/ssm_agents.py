"""Systems Manager's inventory: which instances run an agent, and whether it answers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from cpm.kernel import clock
from cpm.simulator import ec2_state, markers
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.errors import AwsError


class BadAgent(ValueError):
    """An agent that cannot be; the text says why."""


@dataclass(frozen=True)
class Agent:
    """The agent on one instance. It answers while it is online and the instance runs."""

    instance_id: str
    online: bool = True
    platform_type: str = "Linux"
    platform_name: str = "Amazon Linux"
    platform_version: str = "2023"
    agent_version: str = "3.3.987.0"


def install(handlers: Handlers) -> None:
    """Answer what moto lacks."""
    handlers.add("ssm", {"DescribeInstanceInformation": describe_instance_information})


def table(account: str, region: str) -> dict[str, Agent]:
    """The agents of one account in one region, by instance.

    They hang on EC2, where the instances are: moto's Systems Manager does not fit a state file.
    """
    return ec2_state.table(ec2_state.backend(account, region), "agents")


def set_agents(wanted: Mapping[str, Any]) -> list[str]:
    """Put the agents in `wanted` in the place of all others; their instances. Raises BadAgent.

    `agents` is a list of instance ids or of objects with an agent's members, or `all`.
    """
    account, region = str(wanted.get("account", "")), str(wanted.get("region", "us-east-1"))
    if not account.isdigit():
        raise BadAgent("agents need the number of an account")
    items = wanted.get("agents", [])
    instances = [item.id for item in ec2_state.backend(account, region).all_instances()]
    agents = [_agent(item) for item in (instances if items == "all" else items)]
    unknown = sorted({agent.instance_id for agent in agents} - set(instances))
    if unknown:
        raise BadAgent(f"there is no instance {', '.join(unknown)}")
    present = table(account, region)
    present.clear()
    present.update({agent.instance_id: agent for agent in agents})
    return list(present)


def answers(call: Call, agent: Agent) -> bool:
    """Whether the agent can be reached now."""
    ec2 = ec2_state.backend(call.account, call.region)
    instance: Any = ec2.get_instance_by_id(agent.instance_id)
    return agent.online and instance is not None and instance.state == "running"


def describe_instance_information(call: Call) -> Mapping[str, Any]:
    """The instances with an agent."""
    shown = [_shown(call, agent) for agent in table(call.account, call.region).values()]
    for item in call.get("Filters", []):
        shown = _having(shown, item["Key"], item["Values"])
    for item in call.get("InstanceInformationFilterList", []):
        shown = _having(shown, item["key"], item["valueSet"])
    size = call.get("MaxResults", 10)
    found, token = page(call, shown, "InstanceId", size, range(5, 51))
    return {"InstanceInformationList": found, "NextToken": token}


def page(
    call: Call, items: list[Any], key: str, size: int, sizes: range
) -> tuple[list[Any], str | None]:
    """A page of what is shown, in the order of the member `key`."""
    if size not in sizes:
        text = f"MaxResults must be between {sizes.start} and {sizes.stop - 1}"
        raise AwsError("ValidationException", text)
    try:
        return markers.page(items, lambda item: str(item[key]), size, call.get("NextToken"))
    except markers.BadMarker:
        raise AwsError("InvalidNextToken", "The specified token is not valid.") from None


def _agent(item: Any) -> Agent:
    known = {field.name for field in fields(Agent)}
    members = {"instance_id": item} if isinstance(item, str) else item
    if not isinstance(members, dict) or not set(members) <= known or "instance_id" not in members:
        raise BadAgent(f"an agent is an instance id or an object with {', '.join(sorted(known))}")
    return Agent(**members)


def _shown(call: Call, agent: Agent) -> dict[str, Any]:
    return {
        "InstanceId": agent.instance_id,
        "PingStatus": "Online" if answers(call, agent) else "ConnectionLost",
        "LastPingDateTime": clock.now(),
        "AgentVersion": agent.agent_version,
        "IsLatestVersion": True,
        "PlatformType": agent.platform_type,
        "PlatformName": agent.platform_name,
        "PlatformVersion": agent.platform_version,
        "ResourceType": "EC2Instance",
    }


_FILTERED_MEMBERS = {
    "AgentVersion": "AgentVersion",
    "InstanceIds": "InstanceId",
    "PingStatus": "PingStatus",
    "PlatformTypes": "PlatformType",
    "ResourceType": "ResourceType",
}


def _having(shown: list[dict[str, Any]], name: str, values: Iterable[str]) -> list[dict[str, Any]]:
    if name not in _FILTERED_MEMBERS:
        text = f"The filter {name} is not valid."
        raise AwsError("InvalidInstanceInformationFilterValue", text)
    wanted = set(values)
    return [item for item in shown if item[_FILTERED_MEMBERS[name]] in wanted]
