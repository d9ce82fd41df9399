"""Commands of Systems Manager: sent to the agent on one instance, found again, and watched."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources.contract import Ask, Json, Refs, State, Verdict, Watch

# How long AWS tries to reach an agent that should be there. Less than 30 is not allowed.
REACH_SECONDS = 60
# What `send` and `find` need.
PERMISSIONS = ("ssm:SendCommand", "ssm:ListCommands")

_CLOCKS_DIFFER = timedelta(minutes=15)
_PER_PAGE = 50
_FIRST_WORDS = 500
_STATES = {
    "Pending": State.PENDING,
    "InProgress": State.PENDING,
    "Delayed": State.PENDING,
    "Cancelling": State.PENDING,
    "Success": State.DONE,
    "Cancelled": State.FAILED,
    "Failed": State.FAILED,
    "TimedOut": State.FAILED,
}
_NOT_REACHED = ("DeliveryTimedOut", "Undeliverable", "Delivery Timed Out")
_ABSENT = ("InvocationDoesNotExist", "InvalidCommandId")


def send(
    aws: Aws,
    ask: Ask,
    document: str,
    parameters: Mapping[str, list[str]],
    *,
    reach_seconds: int = REACH_SECONDS,
) -> Refs:
    """Send a document to the instance that the spec names."""
    instance_id = ask.spec["instance_id"]
    sent = aws.call(
        "ssm",
        "SendCommand",
        InstanceIds=[instance_id],
        DocumentName=document,
        Comment=_comment(ask),
        TimeoutSeconds=reach_seconds,
        Parameters=parameters,
    )
    return _refs(sent["Command"], instance_id)


def find(aws: Aws, ask: Ask) -> Refs | None:
    """The command that an earlier attempt has sent; pending ones are not listed by instance."""
    since: Json = {}
    if ask.asked_at is not None:
        earliest = ask.asked_at - _CLOCKS_DIFFER
        value = earliest.strftime("%Y-%m-%dT%H:%M:%SZ")
        since = {"Filters": [{"key": "InvokedAfter", "value": value}]}
    for command in aws.pages("ssm", "ListCommands", "Commands", MaxResults=_PER_PAGE, **since):
        if command.get("Comment") == _comment(ask):
            return _refs(command, ask.spec["instance_id"])
    return None


def _comment(ask: Ask) -> str:
    return f"cpm_token={ask.token}"


def _refs(command: Json, instance_id: str) -> Refs:
    return {"command": f"{command['CommandId']} {instance_id}"}


def _poll(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    return {ref: _look(aws, *ref.split()) for ref in refs}


def _look(aws: Aws, command_id: str, instance_id: str = "") -> Verdict:
    which = {"CommandId": command_id, "InstanceId": instance_id}
    try:
        listed = aws.call("ssm", "ListCommandInvocations", Details=True, **which)
    except Fault as fault:
        if fault.code not in _ABSENT:
            raise
        return Verdict(State.GONE)
    if not listed["CommandInvocations"]:
        return Verdict(State.GONE)
    invocation = listed["CommandInvocations"][0]
    state = _STATES.get(invocation["Status"], State.UNKNOWN)
    if state not in (State.DONE, State.FAILED):
        return Verdict(state)
    step = _decisive(invocation.get("CommandPlugins", ()))
    output, error = _written(aws, which, step)
    reason = "" if state is State.DONE else _reason(invocation, step, error or output)
    return Verdict(state, 100, reason, output=output + error)


def _decisive(steps: Sequence[Json]) -> Json | None:
    """The step that the document failed at, or else its last."""
    bad = [step for step in steps if _STATES.get(step["Status"]) is State.FAILED]
    return next(iter(bad or steps[-1:]), None)


def _written(aws: Aws, which: Json, step: Json | None) -> tuple[str, str]:
    """What a step wrote to standard output and standard error, as far as AWS keeps it."""
    if step is None:
        return "", ""
    try:
        found = aws.call("ssm", "GetCommandInvocation", PluginName=step["Name"], **which)
    except Fault as fault:
        if fault.kind is not FaultKind.INVALID:
            raise
        # A step that never began has nothing to tell.
        return step.get("Output", ""), ""
    return found.get("StandardOutputContent", ""), found.get("StandardErrorContent", "")


def _reason(invocation: Json, step: Json | None, written: str) -> str:
    details = invocation.get("StatusDetails", invocation["Status"])
    if details in _NOT_REACHED:
        return f"the agent does not answer ({details})"
    if invocation["Status"] != "Failed" or step is None:
        return f"it was ended ({details})"
    first_words = written.strip()[:_FIRST_WORDS]
    return f"exit status {step.get('ResponseCode', -1)}" + (
        f": {first_words}" if first_words else ""
    )


WATCH = Watch(
    name="ssm_command",
    permissions=("ssm:ListCommandInvocations", "ssm:GetCommandInvocation"),
    poll=_poll,
    batch=10,
)
