"""Worker machines: EC2 instances that are launched to move data, and what they are launched with.

They are nothing that could be protected. How they are used: docs/design/worker-machines.md.
"""

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ec2
from cpm.resources.contract import Json

NAME = "CPMWorkerMachine"
# The IAM actions of what is done here.
PERMISSIONS = (
    *("ec2:CreateTags", "ec2:DescribeInstances", "ec2:DescribeInstanceTypes"),
    *("ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:RunInstances"),
    *("ec2:TerminateInstances", "ssm:GetParameter"),
)
# The SDK takes no more, and AWS no more than this before it is put into base64.
MOST_USER_DATA_BYTES = 16 * 1024

_IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{}"
# What AWS calls the architectures of Python's `platform`.
_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
# Two processors, and memory enough for a copy on each.
_USUAL_TYPES = {"x86_64": "c5.large", "arm64": "c6g.large"}
# What is wrong with it: nothing that suits us is of it, or nothing at all.
_UNFIT = "UnfitConfiguration"
WRONG_TYPE = (_UNFIT, "InvalidInstanceType")
_NOT_GONE = ("pending", "running", "stopping", "stopped")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a worker's configuration says of its machine; what is empty is chosen here."""

    instance_type: str = ""
    key_pair: str = ""
    vpc: str = ""
    subnet: str = ""
    security_group: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A machine as AWS lists it."""

    instance_id: str
    token: str


def is_one(resource_tags: Mapping[str, str]) -> bool:
    """Whether something with these tags is a machine of some server, or a volume of one."""
    return resource_tags.get("Name") == NAME and tags.SERVER_ID in resource_tags


def architecture() -> str:
    """The server's own, as AWS calls it; its software runs on machines that have the same."""
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)


def check_type(aws: Aws, instance_type: str) -> None:
    """Raises Fault where machines cannot be of this type, with a code of `WRONG_TYPE`, or another
    where AWS does not say.
    """
    answer = aws.call("ec2", "DescribeInstanceTypes", InstanceTypes=[instance_type])
    (described,) = answer["InstanceTypes"]
    has = described["ProcessorInfo"]["SupportedArchitectures"]
    if architecture() not in has:
        text = f"{instance_type} is {' and '.join(has)}, the server's software {architecture()}"
        raise _unfit(text)


def parameters(aws: Aws, choice: Choice) -> Json:
    """The parameters of `RunInstances` that make the choice come true; only looks.

    Raises Fault, also where what was chosen is not there or does not fit.
    """
    instance_type = choice.instance_type or _USUAL_TYPES.get(architecture(), "")
    check_type(aws, instance_type)
    subnet = _subnet(aws, choice)
    chosen = {
        "ImageId": _image(aws),
        "InstanceType": instance_type,
        "KeyName": choice.key_pair,
        "SubnetId": subnet.get("SubnetId", ""),
        "SecurityGroupIds": _security_groups(aws, choice, subnet),
    }
    return {name: value for name, value in chosen.items() if value}


def launch(aws: Aws, wanted: Json, token: str, marks: Mapping[str, str], user_data: str) -> str:
    """Launch one machine; the same token launches it only once. Returns its id; raises Fault."""
    named = {"Name": NAME, **marks}
    answer = aws.call(
        "ec2",
        "RunInstances",
        MinCount=1,
        MaxCount=1,
        ClientToken=token,
        UserData=user_data,
        InstanceInitiatedShutdownBehavior="terminate",
        MetadataOptions={"HttpTokens": "required", "HttpEndpoint": "enabled"},
        TagSpecifications=[tags.specification(kind, named) for kind in ("instance", "volume")],
        **wanted,
    )
    return str(answer["Instances"][0]["InstanceId"])


def find(aws: Aws, token: str) -> str | None:
    """The machine that was launched with this token, unless it is gone; raises Fault."""
    for found in _listed(aws, _ec2.filter_by("client-token", token)):
        return found.instance_id
    return None


def owned(aws: Aws, server_id: str) -> Iterator[Found]:
    """The server's machines that are not gone; raises Fault.

    An instance that merely carries the tags, since somebody has launched more like one, was not
    launched with the token that they name.
    """
    by_server = _ec2.filter_by(f"tag:{tags.SERVER_ID}", server_id)
    return _listed(aws, by_server, _ec2.filter_by("tag:Name", NAME))


def terminate(aws: Aws, instance_id: str) -> None:
    """End a machine; one that is gone is ended. Raises Fault."""
    try:
        aws.call("ec2", "TerminateInstances", InstanceIds=[instance_id])
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise


def _listed(aws: Aws, *filters: Json) -> Iterator[Found]:
    alive = _ec2.filter_by("instance-state-name", *_NOT_GONE)
    for reservation in _ec2.everything(aws, _ec2.INSTANCES, alive, *filters):
        for instance in reservation["Instances"]:
            token = tags.from_aws(instance.get("Tags")).get(tags.TOKEN, "")
            if token and instance.get("ClientToken") == token:
                yield Found(instance["InstanceId"], token)


def _image(aws: Aws) -> str:
    answer = aws.call("ssm", "GetParameter", Name=_IMAGE.format(architecture()))
    return str(answer["Parameter"]["Value"])


def _subnet(aws: Aws, choice: Choice) -> Json:
    """The subnet to launch into; nothing where AWS is to choose its default."""
    if not choice.subnet and not choice.vpc:
        return {}
    by = ("subnet-id", choice.subnet) if choice.subnet else ("vpc-id", choice.vpc)
    found = list(aws.pages("ec2", "DescribeSubnets", "Subnets", Filters=[_ec2.filter_by(*by)]))
    usable = [each for each in found if choice.vpc in ("", each["VpcId"])]
    if not usable:
        raise _unfit(f"there is no subnet {choice.subnet} in VPC {choice.vpc or 'of the account'}")
    return max(usable, key=lambda each: int(each.get("AvailableIpAddressCount", 0)))


def _security_groups(aws: Aws, choice: Choice, subnet: Json) -> list[str]:
    wanted = choice.security_group
    if not wanted or wanted.startswith("sg-"):
        return [wanted] if wanted else []
    filters = [_ec2.filter_by("group-name", wanted)]
    if subnet:
        filters.append(_ec2.filter_by("vpc-id", subnet["VpcId"]))
    groups = aws.pages("ec2", "DescribeSecurityGroups", "SecurityGroups", Filters=filters)
    found = [str(each["GroupId"]) for each in groups]
    if len(found) != 1:
        raise _unfit(f"{len(found)} security groups are named {wanted}; give the id of one")
    return found


def _unfit(text: str) -> Fault:
    return Fault(FaultKind.INVALID, text, code=_UNFIT)
