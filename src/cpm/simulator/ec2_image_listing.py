"""AMIs are listed to those who may start them, and found for those who do."""

from collections.abc import Iterable, Mapping
from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import AmiBackend

from cpm.simulator import ec2_base_image, ec2_listing, ec2_state, ec2_tags
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ec2_filters import Field, matching
from cpm.simulator.ec2_images import Image, check_id, deregistered, missing, table
from cpm.simulator.ec2_paging import page, refuse_ids_with_pages
from cpm.simulator.errors import AwsError
from cpm.simulator.patches import replace


def _of_devices(read: Any) -> Field[Image]:
    return lambda image: [read(device) for device in image.devices]


_FIELDS: Mapping[str, Field[Image]] = {
    "architecture": lambda image: image.architecture,
    "block-device-mapping.delete-on-termination": _of_devices(lambda d: d.delete_on_termination),
    "block-device-mapping.device-name": _of_devices(lambda device: device.name),
    "block-device-mapping.encrypted": _of_devices(lambda device: device.encrypted),
    "block-device-mapping.snapshot-id": _of_devices(lambda device: device.snapshot_id),
    "block-device-mapping.volume-size": _of_devices(lambda device: device.volume_size),
    "block-device-mapping.volume-type": _of_devices(lambda device: device.volume_type),
    "creation-date": lambda image: image.creation_date,
    "description": lambda image: image.description,
    "hypervisor": lambda _: "xen",
    "image-id": lambda image: image.id,
    "image-type": lambda _: "machine",
    "is-public": lambda image: image.is_public,
    "manifest-location": lambda image: f"{image.owner_id}/{image.name}",
    "name": lambda image: image.name,
    "owner-alias": lambda image: image.owner_alias,
    "owner-id": lambda image: image.owner_id,
    "platform": lambda image: image.platform,
    "root-device-name": lambda image: image.root_device_name,
    "root-device-type": lambda _: "ebs",
    "source-image-id": lambda image: image.source_image_id,
    "source-image-region": lambda image: image.source_image_region,
    "source-instance-id": lambda image: image.source_instance_id,
    "state": lambda image: image.state,
    "virtualization-type": lambda image: image.virtualization_type,
}


def install(handlers: Handlers) -> None:
    """List AMIs as EC2 does, to moto's own code too."""
    handlers.add("ec2", {"DescribeImages": describe_images})
    replace(AmiBackend, "describe_images", _describe_for_moto)


def usable(call: Call, region: str, image_id: str) -> Image:
    """An available AMI that the caller may start or copy; raises as RunInstances does."""
    check_id(image_id)
    found = _find(call, region, image_id)
    if found is None:
        raise missing(image_id)
    if found.settle(call.config) != "available":
        text = f"The image ID '{image_id}' is {found.state}"
        raise AwsError("InvalidAMIID.Unavailable", text)
    return found


def visible(call: Call, image_id: str) -> Image:
    """An AMI that the caller may start, whatever its state; raises InvalidAMIID.NotFound."""
    check_id(image_id)
    found = _find(call, call.region, image_id)
    if found is None:
        raise missing(image_id)
    return found


def describe_images(call: Call) -> Mapping[str, Any]:
    """The AMIs that the caller may see, by owner, by who may start them, by filters."""
    refuse_ids_with_pages(call, "ImageIds", "imagesSet")
    ids = call.get("ImageIds")
    candidates = _by_ids(call, ids) if ids else _listed(call)
    for image in candidates:
        image.settle(call.config)
    narrowed = [image for image in candidates if _is_asked_for(call, image)]
    ec2 = ec2_state.backend(call.account, call.region)
    filters = call.get("Filters", [])
    found = matching(narrowed, filters, _FIELDS, lambda image: ec2_tags.of(ec2, image.id))
    images, token = page(call, found, lambda image: image.id)
    return {"Images": [image.shown(call.account) for image in images], "NextToken": token}


def _everywhere(call: Call, region: str) -> Iterable[EC2Backend]:
    ec2_base_image.ensure(region)
    yield ec2_state.backend(call.account, region)
    yield from ec2_state.neighbours(call.account, region)


def _find(call: Call, region: str, image_id: str) -> Image | None:
    for ec2 in _everywhere(call, region):
        found = table(ec2).get(image_id)
        if found is not None and found.is_usable_by(call.account):
            return found
    return None


def _listed(call: Call) -> list[Image]:
    return [
        image
        for ec2 in _everywhere(call, call.region)
        for image in table(ec2).values()
        if image.is_usable_by(call.account) and ec2_listing.is_listed(ec2, image.id)
    ]


def _by_ids(call: Call, image_ids: Iterable[str]) -> list[Image]:
    gone = deregistered(ec2_state.backend(call.account, call.region))
    found, unknown = [], []
    for image_id in dict.fromkeys(image_ids):
        check_id(image_id)
        image = _find(call, call.region, image_id)
        if image is not None and ec2_listing.is_listed(image.ec2_backend, image_id):
            found.append(image)
        elif image_id not in gone:
            unknown.append(image_id)
    if unknown:
        raise missing(*unknown)
    return found


def _is_asked_for(call: Call, image: Image) -> bool:
    owners = {call.account if owner == "self" else owner for owner in call.get("Owners", [])}
    users = {call.account if user == "self" else user for user in call.get("ExecutableUsers", [])}
    owned = not owners or image.owner_id in owners or image.owner_alias in owners
    given = not users or bool(users & image.user_ids) or ("all" in users and image.is_public)
    return owned and given


def _describe_for_moto(
    ec2: EC2Backend, ami_ids: Iterable[str] | None = None, **_: Any
) -> list[Image]:
    known = table(ec2)
    for image_id in ami_ids or ():
        if image_id not in known:
            raise missing(image_id)
    return [known[image_id] for image_id in ami_ids or ()]
