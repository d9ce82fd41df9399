"""Systems Manager's commands: sent to agents, pending, in progress, then over, as was set."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from cpm.kernel import clock
from cpm.simulator import ec2_state, ec2_tags, ssm_vss
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.errors import AwsError
from cpm.simulator.ssm_agents import answers, page
from cpm.simulator.ssm_agents import table as agents_of

_ENDS = ("Success", "Failed", "TimedOut")
_PENDING_SHARE = 0.1
_DEFAULT_TIMEOUT_SECONDS = 3600
_LONGEST_OUTPUT, _LONGEST_ERROR, _LONGEST_SUMMARY = 24_000, 8_000, 2_500
_LONGEST_COMMENT = 100
# The documents that there are, with the name of the step that they have.
_DOCUMENTS = {
    "AWS-RunShellScript": "aws:runShellScript",
    "AWS-RunPowerShellScript": "aws:runPowerShellScript",
    ssm_vss.DOCUMENT: ssm_vss.STEP,
}


class BadOutcome(ValueError):
    """An outcome that cannot be; the text says why."""


@dataclass(frozen=True)
class Outcome:
    """How commands end that meet it: on this instance and with this text in them, or all."""

    status: str = "Success"
    output: str = ""
    error: str = ""
    exit_code: int | None = None
    seconds: float = 0.0
    instance_id: str | None = None
    contains: str | None = None


@dataclass
class Invocation:
    """A command on one instance."""

    command_id: str
    instance_id: str
    document_name: str
    comment: str
    sent_at: datetime
    outcome: Outcome
    is_reached: bool
    timeout_seconds: float
    listed_at: datetime
    # How long it may run; for ever when nothing is said.
    execution_seconds: float = float("inf")
    parameters: Mapping[str, list[str]] = field(default_factory=dict)
    cancelled: bool = False

    def status(self) -> tuple[str, str]:
        """The status by now, and its details."""
        passed = (clock.now() - self.sent_at).total_seconds()
        if self.cancelled:
            return "Cancelled", "Cancelled"
        if not self.is_reached:
            lost = passed >= self.timeout_seconds
            return ("TimedOut", "DeliveryTimedOut") if lost else ("Pending", "Pending")
        if passed < self.outcome.seconds * _PENDING_SHARE:
            return "Pending", "Pending"
        if passed >= self.execution_seconds < self.outcome.seconds:
            return "TimedOut", "ExecutionTimedOut"
        if passed < self.outcome.seconds:
            return "InProgress", "InProgress"
        end = self.outcome.status
        return end, "ExecutionTimedOut" if end == "TimedOut" else end

    @property
    def is_over(self) -> bool:
        """Whether it has come to an end."""
        return self.status()[0] not in ("Pending", "InProgress")


def install(handlers: Handlers) -> None:
    """Take over commands."""
    handlers.add(
        "ssm",
        {
            "CancelCommand": cancel_command,
            "GetCommandInvocation": get_command_invocation,
            "ListCommandInvocations": list_command_invocations,
            "ListCommands": list_commands,
            "SendCommand": send_command,
        },
    )


def set_outcomes(wanted: Mapping[str, Any]) -> int:
    """Put these outcomes in the place of all others; how many. Raises BadOutcome."""
    account, region = str(wanted.get("account", "")), str(wanted.get("region", "us-east-1"))
    if not account.isdigit():
        raise BadOutcome("outcomes need the number of an account")
    outcomes = [_outcome(item) for item in wanted.get("outcomes", [])]
    _outcomes(account, region)["all"] = outcomes
    return len(outcomes)


def send_command(call: Call) -> Mapping[str, Any]:
    """Send a document to agents, by instance or by tag."""
    if call.params["DocumentName"] not in _DOCUMENTS:
        raise AwsError("InvalidDocument", f"There is no document {call.params['DocumentName']}")
    if len(call.get("Comment", "")) > _LONGEST_COMMENT:
        raise AwsError(
            "ValidationException", f"A comment has at most {_LONGEST_COMMENT} characters"
        )
    known = agents_of(call.account, call.region)
    instance_ids = list(dict.fromkeys([*call.get("InstanceIds", []), *_targets(call)]))
    for instance_id in call.get("InstanceIds", []):
        if instance_id not in known:
            text = f"Instances [[{instance_id}]] not in a valid state for account {call.account}"
            raise AwsError("InvalidInstanceId", text)
    command_id = str(uuid.uuid4())
    for instance_id in instance_ids:
        if instance_id in known:
            invocation = _invocation(call, command_id, instance_id)
            _table(call)[f"{command_id}/{instance_id}"] = invocation
    return {"Command": _command(call, command_id)}


def get_command_invocation(call: Call) -> Mapping[str, Any]:
    """How far a command is on one instance, and what it wrote."""
    invocation = _own(call, call.params["CommandId"], call.params["InstanceId"])
    step = _DOCUMENTS[invocation.document_name]
    if call.get("PluginName", step) != step:
        raise AwsError("InvalidPluginName", f"There is no step {call.params['PluginName']}")
    status, details = invocation.status()
    outcome = invocation.outcome if invocation.is_over else Outcome()
    return {
        "CommandId": invocation.command_id,
        "InstanceId": invocation.instance_id,
        "DocumentName": invocation.document_name,
        "Comment": invocation.comment,
        "PluginName": step,
        "Status": status,
        "StatusDetails": details,
        "ResponseCode": _exit_code(invocation),
        "ExecutionStartDateTime": invocation.sent_at.isoformat(),
        "StandardOutputContent": outcome.output[:_LONGEST_OUTPUT],
        "StandardErrorContent": outcome.error[:_LONGEST_ERROR],
    }


def list_command_invocations(call: Call) -> Mapping[str, Any]:
    """How far commands are, by command, by instance, or all."""
    shown = [
        _shown(invocation, with_steps=call.get("Details", False))
        for invocation in _listed(call)
        if call.get("CommandId") in (None, invocation.command_id)
        and call.get("InstanceId") in (None, invocation.instance_id)
    ]
    for item in call.get("Filters", []):
        if item["key"] == "Status":
            shown = [one for one in shown if one["Status"] == item["value"]]
    size = call.get("MaxResults", 50)
    found, token = page(call, shown, "InstanceId", size, range(1, 51))
    return {"CommandInvocations": found, "NextToken": token}


def list_commands(call: Call) -> Mapping[str, Any]:
    """The commands that were sent."""
    wanted = call.get("CommandId")
    sent = {one.command_id: one for one in _listed(call) if wanted in (None, one.command_id)}
    for item in call.get("Filters", []):
        sent = {key: one for key, one in sent.items() if _passes(one, item["key"], item["value"])}
    shown = [_shown_command(call, one) for one in sent.values()]
    found, token = page(call, shown, "CommandId", call.get("MaxResults", 50), range(1, 51))
    return {"Commands": found, "NextToken": token}


def cancel_command(call: Call) -> Mapping[str, Any]:
    """Cancel what is not over yet."""
    command_id = call.params["CommandId"]
    wanted = call.get("InstanceIds")
    invocations = list(_of_command(call, command_id))
    if not invocations:
        raise AwsError("InvalidCommandId", f"There is no command {command_id}")
    for invocation in invocations:
        is_meant = not wanted or invocation.instance_id in wanted
        invocation.cancelled |= is_meant and not invocation.is_over
    return {}


def _table(call: Call) -> dict[str, Invocation]:
    return ec2_state.table(ec2_state.backend(call.account, call.region), "invocations")


def _outcomes(account: str, region: str) -> dict[str, list[Outcome]]:
    return ec2_state.table(ec2_state.backend(account, region), "command_outcomes")


def _of_command(call: Call, command_id: str) -> Iterator[Invocation]:
    yield from (one for one in _table(call).values() if one.command_id == command_id)


def _listed(call: Call) -> Iterator[Invocation]:
    yield from (one for one in _table(call).values() if one.listed_at <= clock.now())


def _passes(invocation: Invocation, key: str, value: str) -> bool:
    match key:
        case "InvokedAfter":
            return invocation.sent_at >= datetime.fromisoformat(value)
        case "DocumentName":
            return invocation.document_name == value
        case "Status":
            return invocation.status()[0] == value
    raise AwsError("InvalidFilterKey", f"Commands cannot be filtered by {key}.")


def _own(call: Call, command_id: str, instance_id: str) -> Invocation:
    found = _table(call).get(f"{command_id}/{instance_id}")
    if found is None or found.listed_at > clock.now():
        raise AwsError("InvocationDoesNotExist", "The command did not run on the instance.")
    return found


def _invocation(call: Call, command_id: str, instance_id: str) -> Invocation:
    parameters: Mapping[str, list[str]] = call.get("Parameters", {})
    is_reached = answers(call, agents_of(call.account, call.region)[instance_id])
    outcome = _expected(call, instance_id)
    if call.params["DocumentName"] == ssm_vss.DOCUMENT and is_reached:
        outcome = _make_snapshots(call, instance_id, outcome)
    return Invocation(
        command_id=command_id,
        instance_id=instance_id,
        document_name=call.params["DocumentName"],
        comment=call.get("Comment", ""),
        sent_at=clock.now(),
        outcome=outcome,
        is_reached=is_reached,
        timeout_seconds=call.get("TimeoutSeconds", _DEFAULT_TIMEOUT_SECONDS),
        listed_at=call.listed_at(),
        execution_seconds=float(next(iter(parameters.get("executionTimeout", [])), "inf")),
        parameters=parameters,
    )


def _make_snapshots(call: Call, instance_id: str, outcome: Outcome) -> Outcome:
    try:
        ssm_vss.make(call, instance_id, succeeds=outcome.status == "Success")
    except ssm_vss.BadTags as trouble:
        return Outcome(status="Failed", error=str(trouble), exit_code=1)
    return outcome


def _expected(call: Call, instance_id: str) -> Outcome:
    text = "\n".join(line for lines in call.get("Parameters", {}).values() for line in lines)
    for outcome in _outcomes(call.account, call.region).get("all", []):
        is_here = outcome.instance_id in (None, instance_id)
        if is_here and (outcome.contains is None or outcome.contains in text):
            return outcome
    return Outcome(seconds=call.config.quick_seconds)


def _targets(call: Call) -> Iterator[str]:
    ec2 = ec2_state.backend(call.account, call.region)
    for target in call.get("Targets", []):
        key, values = target["Key"], target["Values"]
        if key == "InstanceIds":
            yield from values
        for instance_id in agents_of(call.account, call.region):
            tags = ec2_tags.of(ec2, instance_id)
            if key.startswith("tag:") and tags.get(key.removeprefix("tag:")) in values:
                yield instance_id


def _command(call: Call, command_id: str) -> Mapping[str, Any]:
    sent_at = clock.now()
    timeout = call.get("TimeoutSeconds", _DEFAULT_TIMEOUT_SECONDS)
    return {
        "CommandId": command_id,
        "DocumentName": call.params["DocumentName"],
        "Comment": call.get("Comment", ""),
        "Parameters": call.get("Parameters", {}),
        "InstanceIds": [one.instance_id for one in _of_command(call, command_id)],
        "Targets": call.get("Targets", []),
        "RequestedDateTime": sent_at,
        "ExpiresAfter": sent_at + timedelta(seconds=timeout),
        "TimeoutSeconds": timeout,
        "Status": "Pending",
        "StatusDetails": "Pending",
    }


def _shown_command(call: Call, sent: Invocation) -> dict[str, Any]:
    status, details = sent.status()
    return {
        "CommandId": sent.command_id,
        "DocumentName": sent.document_name,
        "Comment": sent.comment,
        "Parameters": sent.parameters,
        "InstanceIds": [one.instance_id for one in _of_command(call, sent.command_id)],
        "RequestedDateTime": sent.sent_at,
        "Status": status,
        "StatusDetails": details,
    }


def _shown(invocation: Invocation, *, with_steps: bool) -> dict[str, Any]:
    status, details = invocation.status()
    shown = {
        "CommandId": invocation.command_id,
        "InstanceId": invocation.instance_id,
        "DocumentName": invocation.document_name,
        "Comment": invocation.comment,
        "RequestedDateTime": invocation.sent_at,
        "Status": status,
        "StatusDetails": details,
    }
    return {**shown, "CommandPlugins": [_step(invocation)]} if with_steps else shown


def _step(invocation: Invocation) -> dict[str, Any]:
    status, details = invocation.status()
    output = invocation.outcome.output if invocation.is_over else ""
    return {
        "Name": _DOCUMENTS[invocation.document_name],
        "Status": status,
        "StatusDetails": details,
        "ResponseCode": _exit_code(invocation),
        "Output": output[:_LONGEST_SUMMARY],
    }


def _exit_code(invocation: Invocation) -> int:
    status = invocation.status()[0]
    if invocation.outcome.exit_code is not None and invocation.is_over:
        return invocation.outcome.exit_code
    return {"Success": 0, "Failed": 1}.get(status, -1)


def _outcome(item: Any) -> Outcome:
    known = {each.name for each in fields(Outcome)}
    if not isinstance(item, dict) or not set(item) <= known:
        raise BadOutcome(f"an outcome is an object with {', '.join(sorted(known))}")
    outcome = Outcome(**item)
    if outcome.status not in _ENDS:
        raise BadOutcome(f"a command ends as one of {', '.join(_ENDS)}")
    return outcome
