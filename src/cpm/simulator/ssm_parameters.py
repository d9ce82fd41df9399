"""Parameters: those in which Amazon publishes its newest AMIs name the ones that are here."""

from collections.abc import Mapping
from typing import Any

from moto.ssm.models import ssm_backends

from cpm.simulator import ec2_base_image
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.errors import AwsError

_AMAZON_LINUX = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-"
_IMAGES = {
    f"{_AMAZON_LINUX}x86_64": ec2_base_image.ID,
    f"{_AMAZON_LINUX}arm64": ec2_base_image.ARM_ID,
}


def install(handlers: Handlers) -> None:
    """Take over GetParameter."""
    handlers.add("ssm", {"GetParameter": get_parameter})


def get_parameter(call: Call) -> Mapping[str, Any]:
    """One parameter: a public one, or one of the account's own."""
    name = call.params["Name"]
    if name in _IMAGES:
        ec2_base_image.ensure(call.region)
        arn = f"arn:aws:ssm:{call.region}::parameter{name}"
        shown = {"Name": name, "Type": "String", "Value": _IMAGES[name], "Version": 1, "ARN": arn}
        return {"Parameter": shown}
    own = ssm_backends[call.account][call.region].get_parameter(name)
    if own is None:
        raise AwsError("ParameterNotFound", f"Parameter {name} not found.")
    return {"Parameter": own.response_object(call.get("WithDecryption", False), call.region)}
