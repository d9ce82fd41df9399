"""Systems Manager: the inventory of agents, and commands with their outcomes."""

from typing import Any

import pytest

from cpm.simulator.process import Credentials, Simulator, SimulatorFailed
from tests.simulator.conftest import Clients, Later
from tests.simulator.expect import refused


@pytest.fixture
def ssm(client: Clients, account: Credentials) -> Any:
    """Systems Manager in the test's own account."""
    return client("ssm", account)


@pytest.fixture
def instances(simulator: Simulator, account: Credentials) -> list[str]:
    """Eight instances, all with an agent."""
    simulator.seed(account=account.account, instances=8, tags={"team": "blue"})
    return sorted(simulator.agents(account.account))


def send(ssm: Any, *instance_ids: str, text: str = "sync", **more: Any) -> str:
    """Send a shell script; the command's id."""
    sent = ssm.send_command(
        InstanceIds=list(instance_ids),
        DocumentName="AWS-RunShellScript",
        Parameters={"commands": [text]},
        **more,
    )
    return str(sent["Command"]["CommandId"])


def look(ssm: Any, command_id: str, instance_id: str) -> Any:
    """A command on an instance as it is now."""
    return ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)


def inventory(ssm: Any, **more: Any) -> dict[str, str]:
    """The ping status by instance."""
    pages = ssm.get_paginator("describe_instance_information").paginate(
        PaginationConfig={"PageSize": 5}, **more
    )
    shown = [item for page in pages for item in page["InstanceInformationList"]]
    return {item["InstanceId"]: item["PingStatus"] for item in shown}


def test_the_inventory_has_the_instances_with_an_agent_in_pages(
    ssm: Any, instances: list[str]
) -> None:
    assert inventory(ssm) == dict.fromkeys(instances, "Online")
    shown = ssm.describe_instance_information()["InstanceInformationList"][0]
    assert (shown["PlatformType"], shown["ResourceType"]) == ("Linux", "EC2Instance")
    assert shown["AgentVersion"]
    assert shown["LastPingDateTime"]


def test_an_agent_may_be_offline_and_a_stopped_instance_is(
    simulator: Simulator, ssm: Any, ec2: Any, account: Credentials, instances: list[str]
) -> None:
    lost = {"instance_id": instances[0], "online": False, "platform_type": "Windows"}
    simulator.agents(account.account, [lost, *instances[1:3]])
    ec2.stop_instances(InstanceIds=[instances[1]])
    assert inventory(ssm) == {
        instances[0]: "ConnectionLost",
        instances[1]: "ConnectionLost",
        instances[2]: "Online",
    }
    windows = [{"Key": "PlatformTypes", "Values": ["Windows"]}]
    assert list(inventory(ssm, Filters=windows)) == [instances[0]]
    with pytest.raises(SimulatorFailed, match="there is no instance i-nothing"):
        simulator.agents(account.account, ["i-nothing"])


def test_a_command_is_pending_then_in_progress_then_over_with_its_output(
    simulator: Simulator, ssm: Any, account: Credentials, instances: list[str], later: Later
) -> None:
    simulator.commands(account.account, {"output": "frozen\n", "seconds": 10_000})
    command_id = send(ssm, instances[0])
    seen = []
    for _ in range(3):
        shown = look(ssm, command_id, instances[0])
        seen.append((shown["Status"], shown["ResponseCode"], shown["StandardOutputContent"]))
        later(5_100)
    assert seen == [("Pending", -1, ""), ("InProgress", -1, ""), ("Success", 0, "frozen\n")]


def test_commands_end_as_was_set_by_instance_and_by_text(
    simulator: Simulator, ssm: Any, account: Credentials, instances: list[str]
) -> None:
    simulator.commands(
        account.account,
        {"instance_id": instances[0], "status": "Failed", "error": "no", "exit_code": 7},
        {"contains": "freeze", "status": "TimedOut"},
    )
    failed = look(ssm, send(ssm, instances[0]), instances[0])
    assert (failed["Status"], failed["ResponseCode"]) == ("Failed", 7)
    assert failed["StandardErrorContent"] == "no"
    late = look(ssm, send(ssm, instances[1], text="freeze"), instances[1])
    assert (late["Status"], late["StatusDetails"]) == ("TimedOut", "ExecutionTimedOut")
    assert look(ssm, send(ssm, instances[1]), instances[1])["Status"] == "Success"


def test_a_command_to_an_agent_that_does_not_answer_times_out(
    simulator: Simulator, ssm: Any, account: Credentials, instances: list[str], later: Later
) -> None:
    simulator.agents(account.account, [{"instance_id": instances[0], "online": False}])
    command_id = send(ssm, instances[0], TimeoutSeconds=3600)
    assert look(ssm, command_id, instances[0])["Status"] == "Pending"
    later(3600)
    assert look(ssm, command_id, instances[0])["StatusDetails"] == "DeliveryTimedOut"


def test_commands_to_instances_without_an_agent_are_refused(ssm: Any) -> None:
    with refused("InvalidInstanceId"):
        send(ssm, "i-0123456789abcdef0")


def test_a_command_goes_to_all_instances_with_a_tag_and_is_listed(
    ssm: Any, instances: list[str]
) -> None:
    command_id = ssm.send_command(
        Targets=[{"Key": "tag:team", "Values": ["blue"]}], DocumentName="AWS-RunShellScript"
    )["Command"]["CommandId"]
    first = ssm.list_command_invocations(CommandId=command_id, MaxResults=5)
    rest = ssm.list_command_invocations(
        CommandId=command_id, MaxResults=5, NextToken=first["NextToken"]
    )
    shown = first["CommandInvocations"] + rest["CommandInvocations"]
    assert [item["InstanceId"] for item in shown] == instances
    assert {item["Status"] for item in shown} == {"Success"}


def test_a_cancelled_command_stays_cancelled(
    simulator: Simulator, ssm: Any, account: Credentials, instances: list[str], later: Later
) -> None:
    simulator.commands(account.account, {"seconds": 3600})
    command_id = send(ssm, instances[0])
    ssm.cancel_command(CommandId=command_id)
    later(3600)
    assert look(ssm, command_id, instances[0])["Status"] == "Cancelled"
    with refused("InvalidCommandId"):
        ssm.cancel_command(CommandId="0c2e4b1a-0000-0000-0000-000000000000")
    with refused("InvocationDoesNotExist"):
        look(ssm, command_id, instances[1])
