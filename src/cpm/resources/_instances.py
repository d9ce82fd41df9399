"""The effects that launch instances, stop them and take them back, and how to watch them."""

import base64
from collections.abc import Callable, Mapping, Sequence

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ec2
from cpm.resources._volumes import USE_OF_KEYS
from cpm.resources.contract import Ask, Effect, Json, Refs, State, Verdict, Watch

# Who has ended it on purpose, or from inside; otherwise AWS could not start it.
_ON_PURPOSE = ("Client.UserInitiatedShutdown", "Client.InstanceInitiatedShutdown")


def ref_name(number: int) -> str:
    """What the refs of a launch call its instances: `instance`, `instance1`, ..."""
    return f"instance{number or ''}"


def _run(aws: Aws, ask: Ask) -> Refs:
    parameters = dict(ask.spec["parameters"])
    if "UserData" in parameters:
        # Kept as base64 because it may be no text; the SDK encodes it again.
        parameters["UserData"] = base64.b64decode(parameters["UserData"])
    launched = aws.call(
        "ec2",
        "RunInstances",
        ClientToken=ask.token,
        ImageId=ask.spec.get("image_id") or ask.earlier["image"]["image"],
        TagSpecifications=[
            tags.specification("instance", tags.merged(ask.marks, ask.spec["tags"])),
            tags.specification("volume", tags.merged(ask.marks, ask.spec["volume_tags"])),
        ],
        **parameters,
    )
    ids = sorted(instance["InstanceId"] for instance in launched["Instances"])
    return {ref_name(number): each for number, each in enumerate(ids)}


def _undo_run(aws: Aws, refs: Refs) -> None:
    for instance in _ec2.instances(aws, refs.values()):
        _let_volumes_go_with(aws, instance)
        _terminate(aws, instance["InstanceId"])


def _terminate(aws: Aws, instance_id: str) -> None:
    try:
        aws.call("ec2", "TerminateInstances", InstanceIds=[instance_id])
    except Fault as fault:
        if fault.kind is not FaultKind.LOCKED:
            raise
        # It is protected, as the original was.
        unprotected = {"DisableApiTermination": {"Value": False}}
        aws.call("ec2", "ModifyInstanceAttribute", InstanceId=instance_id, **unprotected)
        aws.call("ec2", "TerminateInstances", InstanceIds=[instance_id])


def _let_volumes_go_with(aws: Aws, instance: Json) -> None:
    """Volumes that are to outlive the instance would be left over when it is taken back."""
    mappings = [
        {"DeviceName": device, "Ebs": {"DeleteOnTermination": True}}
        for device in _ec2.device_mappings(instance)
    ]
    if mappings:
        aws.call(
            "ec2",
            "ModifyInstanceAttribute",
            InstanceId=instance["InstanceId"],
            BlockDeviceMappings=mappings,
        )


def _stop(aws: Aws, ask: Ask) -> Refs:
    launched = ask.earlier["run"]
    aws.call("ec2", "StopInstances", InstanceIds=list(launched.values()))
    return dict(launched)


def _tag_volumes(aws: Aws, ask: Ask) -> Refs:
    wanted: Mapping[str, Mapping[str, str]] = ask.spec["tags_by_device"]
    for instance in _ec2.instances(aws, ask.earlier["run"].values()):
        for device, volume_id in _ec2.device_mappings(instance).items():
            _ec2.put_tags(aws, ask, volume_id, wanted.get(device, {}))
    return {}


def _running(instance: Json) -> Verdict:
    match instance["State"]["Name"]:
        case "running" | "stopping" | "stopped":
            return Verdict(State.DONE, 100)
        case "pending":
            return Verdict(State.PENDING, 50)
    return Verdict(State.FAILED, reason=_reason(instance))


def _started(instance: Json) -> Verdict:
    if instance["State"]["Name"] == "stopped":
        code = instance.get("StateReason", {}).get("Code", "")
        if code and code not in _ON_PURPOSE:
            return Verdict(State.FAILED, reason=_reason(instance))
    return _running(instance)


def _stopped(instance: Json) -> Verdict:
    match instance["State"]["Name"]:
        case "stopped":
            return Verdict(State.DONE, 100)
        case "pending" | "running" | "stopping":
            return Verdict(State.PENDING, 50)
    return Verdict(State.FAILED, reason=_reason(instance))


def _reason(instance: Json) -> str:
    why: str = instance.get("StateReason", {}).get("Message") or "the instance was terminated"
    return why


def _watch(name: str, verdict: Callable[[Json], Verdict]) -> Watch:
    def poll(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
        found = {
            instance["InstanceId"]: verdict(instance)
            for reservation in _ec2.by_ids(aws, _ec2.INSTANCES, refs)
            for instance in reservation["Instances"]
        }
        return {ref: found.get(ref, Verdict(State.GONE)) for ref in refs}

    return Watch(name, ("ec2:DescribeInstances",), poll, batch=_ec2.INSTANCES.per_call)


RUNNING = _watch("instance_running", _running)
STARTED = _watch("instance_started", _started)
STOPPED = _watch("instance_stopped", _stopped)

RUN = Effect(
    name="run_instances",
    operation="ec2:RunInstances",
    permissions=("ec2:RunInstances", "ec2:CreateTags", "iam:PassRole", *USE_OF_KEYS),
    start=_run,
    watch=RUNNING.name,
    undo=_undo_run,
    undo_permissions=(
        "ec2:DescribeInstances",
        "ec2:ModifyInstanceAttribute",
        "ec2:TerminateInstances",
    ),
    makes_result=True,
)
TAG_VOLUMES = Effect(
    name="tag_volumes",
    operation="ec2:CreateTags",
    permissions=("ec2:CreateTags", "ec2:DescribeInstances"),
    start=_tag_volumes,
    tidies_up=True,
)
STOP = Effect(
    name="stop_instances",
    operation="ec2:StopInstances",
    permissions=("ec2:StopInstances",),
    start=_stop,
    watch=STOPPED.name,
)
