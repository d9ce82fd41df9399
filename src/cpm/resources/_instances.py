"""EC2 instances as facts, and the effects that launch, stop and take them back."""

import base64
from collections.abc import Callable, Mapping, Sequence

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.resources import _ec2
from cpm.resources._volumes import USE_OF_KEYS
from cpm.resources.contract import Ask, Effect, Json, Refs, Resource, State, Verdict, Watch

KIND = "ec2_instance"


def resource(instance: Json, volumes: Mapping[str, Resource], region: str) -> Resource:
    """An instance as EC2 describes it, with those of `volumes`, by id, that are its own."""
    instance_tags = _ec2.tags_of(instance)
    attached = [
        volumes[volume_id]
        for volume_id in _ec2.device_mappings(instance).values()
        if volume_id in volumes
    ]
    return Resource(
        kind=KIND,
        resource_id=instance["InstanceId"],
        region=region,
        name=_ec2.name_of(instance_tags),
        size_gib=sum(volume.size_gib for volume in attached),
        tags=instance_tags,
        facts=facts(instance) | {"volumes": [volume.facts for volume in attached]},
    )


def facts(instance: Json) -> Json:
    """What is needed to launch an instance like this one, as JSON; its volumes are not in it."""
    return {
        "image_id": instance.get("ImageId"),
        "instance_type": instance["InstanceType"],
        "key_name": instance.get("KeyName"),
        "iam_profile_arn": instance.get("IamInstanceProfile", {}).get("Arn"),
        "monitoring": instance.get("Monitoring", {}).get("State") in ("enabled", "pending"),
        "ebs_optimized": instance.get("EbsOptimized", False),
        "availability_zone": instance["Placement"]["AvailabilityZone"],
        "tenancy": instance["Placement"].get("Tenancy", "default"),
        "platform": instance.get("Platform", ""),
        "state": instance["State"]["Name"],
        "tags": _ec2.tags_of(instance),
        **_network(instance),
        **_image(instance),
        **_metadata(instance),
    }


def _network(instance: Json) -> Json:
    address_owners = [
        interface.get("Association", {}).get("IpOwnerId")
        for interface in instance.get("NetworkInterfaces", ())
        if interface.get("Attachment", {}).get("DeviceIndex", 0) == 0
    ]
    return {
        "vpc_id": instance.get("VpcId"),
        "subnet_id": instance.get("SubnetId"),
        "private_ip": instance.get("PrivateIpAddress"),
        # An elastic address belongs to the account and does not come with a launch.
        "has_public_ip": "amazon" in address_owners,
        "security_groups": [group["GroupId"] for group in instance.get("SecurityGroups", ())],
    }


def _image(instance: Json) -> Json:
    return {
        "architecture": instance.get("Architecture", "x86_64"),
        "virtualization": instance.get("VirtualizationType", "hvm"),
        "root_device": instance.get("RootDeviceName"),
        "ena": instance.get("EnaSupport", False),
        "boot_mode": instance.get("BootMode"),
        "tpm": instance.get("TpmSupport"),
    }


def _metadata(instance: Json) -> Json:
    """How the instance is told about itself; without it a new one may be less guarded."""
    known = ("HttpTokens", "HttpPutResponseHopLimit", "HttpEndpoint", "InstanceMetadataTags")
    options = instance.get("MetadataOptions", {})
    return {"metadata": {name: options[name] for name in known if name in options}}


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
    return {f"instance{number or ''}": each for number, each in enumerate(ids)}


def _undo_run(aws: Aws, refs: Refs) -> None:
    for instance in _ec2.instances(aws, refs.values()):
        _let_volumes_go_with(aws, instance)
        aws.call("ec2", "TerminateInstances", InstanceIds=[instance["InstanceId"]])


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
