"""Systems Manager: the inventory of agents, and commands with their outcomes."""

from datetime import datetime, timedelta
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


def test_an_agent_that_is_silent_was_heard_of_some_minutes_ago(
    simulator: Simulator, ssm: Any, account: Credentials, instances: list[str]
) -> None:
    lost = {"instance_id": instances[0], "online": False}
    simulator.agents(account.account, [lost, instances[1]])
    silent, online = ssm.describe_instance_information()["InstanceInformationList"]
    assert online["LastPingDateTime"] - silent["LastPingDateTime"] > timedelta(minutes=5)


def test_a_command_that_runs_longer_than_it_may_is_ended(
    simulator: Simulator, ssm: Any, account: Credentials, instances: list[str], later: Later
) -> None:
    simulator.commands(account.account, {"seconds": 10_000})
    command_id = ssm.send_command(
        InstanceIds=[instances[0]],
        DocumentName="AWS-RunShellScript",
        Parameters={"commands": ["sleep 10000"], "executionTimeout": ["600"]},
    )["Command"]["CommandId"]
    later(5000)
    assert look(ssm, command_id, instances[0])["StatusDetails"] == "ExecutionTimedOut"


def test_commands_are_found_by_what_their_sender_said_of_them(
    ssm: Any, instances: list[str]
) -> None:
    command_id = send(ssm, instances[0], Comment="nightly")
    send(ssm, instances[1])
    (sent,) = ssm.list_commands(CommandId=command_id)["Commands"]

    def after(moment: datetime) -> list[str]:
        since = [{"key": "InvokedAfter", "value": moment.isoformat()}]
        pages = ssm.get_paginator("list_commands").paginate(Filters=since)
        return [
            command["CommandId"]
            for page in pages
            for command in page["Commands"]
            if command["Comment"] == "nightly"
        ]

    assert after(sent["RequestedDateTime"] - timedelta(minutes=1)) == [command_id]
    assert after(sent["RequestedDateTime"] + timedelta(minutes=1)) == []
    with refused("InvalidDocument"):
        ssm.send_command(InstanceIds=instances[:1], DocumentName="AWS-Nonsense")


def test_each_step_tells_what_it_wrote(
    simulator: Simulator, ssm: Any, account: Credentials, instances: list[str]
) -> None:
    simulator.commands(account.account, {"output": "x" * 5000, "status": "Failed", "exit_code": 3})
    command_id = send(ssm, instances[0])
    (shown,) = ssm.list_command_invocations(CommandId=command_id, Details=True)[
        "CommandInvocations"
    ]
    (step,) = shown["CommandPlugins"]
    assert (step["Name"], step["ResponseCode"]) == ("aws:runShellScript", 3)
    assert step["Output"] == "x" * 2500
    with refused("InvalidPluginName"):
        ssm.get_command_invocation(
            CommandId=command_id, InstanceId=instances[0], PluginName="nonsense"
        )


def vss(ssm: Any, instance_id: str, **parameters: str) -> str:
    """Ask for snapshots that Windows knows of; the command's id."""
    sent = ssm.send_command(
        InstanceIds=[instance_id],
        DocumentName="AWSEC2-CreateVssSnapshot",
        Parameters={name: [value] for name, value in parameters.items()},
    )
    return str(sent["Command"]["CommandId"])


def snapshots_for(ec2: Any, whose: str) -> list[dict[str, str]]:
    """The tags of the snapshots that were made for somebody."""
    found = ec2.describe_snapshots(Filters=[{"Name": "tag:who", "Values": [whose]}])["Snapshots"]
    return [{tag["Key"]: tag["Value"] for tag in each["Tags"]} for each in found]


@pytest.fixture
def windows(simulator: Simulator, account: Credentials) -> str:
    """A Windows instance with two volumes and an agent."""
    planted = simulator.seed(
        account=account.account, instances=1, volumes_per=2, platform="windows"
    )
    (instance_id,) = planted["instances"]
    simulator.agents(account.account, [instance_id])
    return str(instance_id)


def test_windows_makes_snapshots_of_its_volumes_with_the_tags_that_it_is_given(
    ssm: Any, ec2: Any, windows: str
) -> None:
    assert inventory(ssm, Filters=[{"Key": "PlatformTypes", "Values": ["Windows"]}])
    vss(ssm, windows, tags="Key=who,Value=both")
    assert [tags["AppConsistent"] for tags in snapshots_for(ec2, "both")] == ["True", "True"]
    vss(ssm, windows, tags="Key=who,Value=data;Key=a,Value=b", ExcludeBootVolume="True")
    (tags,) = snapshots_for(ec2, "data")
    assert (tags["Device"], tags["a"]) == ("/dev/sdf", "b")


def test_windows_that_fails_leaves_snapshots_that_say_so(
    simulator: Simulator, ssm: Any, ec2: Any, account: Credentials, windows: str
) -> None:
    simulator.commands(account.account, {"status": "Failed", "error": "VSS_E_WRITER"})
    command_id = vss(ssm, windows, tags="Key=who,Value=nobody")
    assert look(ssm, command_id, windows)["StandardErrorContent"] == "VSS_E_WRITER"
    assert all("AppConsistent" not in tags for tags in snapshots_for(ec2, "nobody"))
    simulator.commands(account.account)
    command_id = vss(ssm, windows, tags="Key=AppConsistent,Value=True")
    assert look(ssm, command_id, windows)["Status"] == "Failed"
