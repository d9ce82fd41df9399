"""What RunInstances refuses before anything starts."""

from moto.iam.models import iam_backends

from cpm.simulator import ec2_placement_groups, ec2_state
from cpm.simulator.calls import Call
from cpm.simulator.ec2_errors import invalid_combination, invalid_value
from cpm.simulator.ec2_images import Device, Image
from cpm.simulator.ec2_traits import instance_type
from cpm.simulator.errors import AwsError


def check(call: Call, image: Image, devices: list[Device]) -> None:
    """Raise unless key, profile and machine are there, and fit the AMI."""
    _check_key(call)
    _check_profile(call)
    _check_machine(call, image)
    ec2_placement_groups.check(call)
    root = next(device for device in devices if device.name == image.root_device_name)
    wants_hibernation = call.get("HibernationOptions", {}).get("Configured")
    if wants_hibernation and not root.encrypted:
        text = "Hibernation needs an encrypted root volume."
        raise AwsError("UnsupportedHibernationConfiguration", text)


def check_override(image: Image, device: Device, size: int | None) -> None:
    """Raise unless an AMI's device may be of another snapshot, which has `size` GiB.

    AWS lets the root volume be of the AMI's own snapshot only.
    """
    if device.name == image.root_device_name:
        text = "snapshotId cannot be modified on root device"
        raise AwsError("InvalidBlockDeviceMapping", text)
    if size is not None and size < device.volume_size:
        text = f"Volume of size {size}GB is smaller than snapshot '{device.snapshot_id}', expect"
        raise AwsError("InvalidBlockDeviceMapping", f"{text} size >= {device.volume_size}GB")


def _check_key(call: Call) -> None:
    name = call.get("KeyName")
    if name and name not in ec2_state.backend(call.account, call.region).key_pairs:
        raise AwsError("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")


def _check_profile(call: Call) -> None:
    wanted = call.get("IamInstanceProfile", {})
    if not wanted:
        return
    known = iam_backends[call.account]["aws"].instance_profiles.values()
    if wanted.get("Name") in {each.name for each in known}:
        return
    if wanted.get("Arn") in {each.arn for each in known}:
        return
    said = wanted.get("Arn") or wanted.get("Name")
    which = "arn" if "Arn" in wanted else "name"
    raise invalid_value(
        f"Value ({said}) for parameter iamInstanceProfile.{which} is invalid. "
        f"Invalid IAM Instance Profile {which}"
    )


def _check_machine(call: Call, image: Image) -> None:
    name = call.get("InstanceType", "m1.small")
    machine = instance_type(name)
    if not machine:
        raise invalid_value(f"Invalid value '{name}' for InstanceType.")
    if image.architecture not in machine["ProcessorInfo"]["SupportedArchitectures"]:
        text = f"The architecture of instance type '{name}' does not match that of the AMI"
        raise invalid_value(f"{text} ('{image.architecture}').")
    needs_ena = machine["NetworkInfo"]["EnaSupport"] == "required"
    if needs_ena and not image.traits.get("EnaSupport"):
        text = "Enhanced networking with the Elastic Network Adapter (ENA) is required for the"
        raise invalid_combination(f"{text} '{name}' instance type. Use an AMI enabled for ENA.")
    mode = image.traits.get("BootMode", "")
    if mode in ("uefi", "legacy-bios") and mode not in machine["SupportedBootModes"]:
        raise AwsError("Unsupported", f"Instance type {name} does not support boot mode {mode}.")
