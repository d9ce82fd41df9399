"""The agents of Systems Manager, as its inventory knows them."""

from collections.abc import Iterator, Sequence

from cpm.aws.sessions import Aws
from cpm.resources import _ec2
from cpm.resources.contract import Agent, Json

PERMISSIONS = ("ssm:DescribeInstanceInformation",)
_PER_CALL = 50


def find(aws: Aws, instance_ids: Sequence[str]) -> Iterator[Agent]:
    """The agents of those of the instances that have ever had one, in as few calls as possible."""
    for batch in _ec2.batches(instance_ids, _PER_CALL):
        these = [{"Key": "InstanceIds", "Values": list(batch)}]
        found = aws.pages(
            "ssm",
            "DescribeInstanceInformation",
            "InstanceInformationList",
            Filters=these,
            MaxResults=_PER_CALL,
        )
        yield from map(_agent, found)


def _agent(described: Json) -> Agent:
    platform = (described.get("PlatformName", ""), described.get("PlatformVersion", ""))
    return Agent(
        resource_id=described["InstanceId"],
        platform=" ".join(filter(None, platform)),
        version=described.get("AgentVersion", ""),
        last_heartbeat_at=described.get("LastPingDateTime"),
    )
