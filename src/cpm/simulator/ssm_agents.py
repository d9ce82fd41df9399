"""Systems Manager's inventory: which instances run an agent, and whether it answers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from cpm.kernel import clock
from cpm.simulator import ec2_state, markers
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.errors import AwsError

# How long an agent that does not answer has been silent by the time that it was set up.
_SILENCE = timedelta(minutes=6)
_WINDOWS = {
    "platform_type": "Windows",
    "platform_name": "Microsoft Windows Server 2022 Datacenter",
    "platform_version": "10.0.20348",
}


class BadAgent(ValueError):
    """An agent that cannot be; the text says why."""


@dataclass(frozen=True)
class Agent:
    """The agent on one instance. It answers while it is online and the instance runs.

    What is not said of its platform is as the instance is.
    """

    instance_id: str
    online: bool = True
    platform_type: str = "Linux"
    platform_name: str = "Amazon Linux"
    platform_version: str = "2023"
    agent_version: str = "3.3.987.0"
    set_up_at: datetime = field(default_factory=clock.now)


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
    instances = ec2_state.backend(account, region).all_instances()
    platforms = {item.id: item.platform for item in instances}
    agents = [_agent(item, platforms) for item in (platforms if items == "all" else items)]
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


def _agent(item: Any, platforms: Mapping[str, str | None]) -> Agent:
    known = {each.name for each in fields(Agent)} - {"set_up_at"}
    members = {"instance_id": item} if isinstance(item, str) else item
    if not isinstance(members, dict) or not set(members) <= known or "instance_id" not in members:
        raise BadAgent(f"an agent is an instance id or an object with {', '.join(sorted(known))}")
    if members["instance_id"] not in platforms:
        raise BadAgent(f"there is no instance {members['instance_id']}")
    platform = _WINDOWS if platforms[members["instance_id"]] == "windows" else {}
    return Agent(**{**platform, **members})


def _shown(call: Call, agent: Agent) -> dict[str, Any]:
    is_online = answers(call, agent)
    return {
        "InstanceId": agent.instance_id,
        "PingStatus": "Online" if is_online else "ConnectionLost",
        "LastPingDateTime": clock.now() if is_online else agent.set_up_at - _SILENCE,
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
