"""Planning an instance's recovery: an image of the root snapshot, a launch from it, tidying up."""

from collections.abc import Mapping
from dataclasses import replace

from cpm.aws.sessions import Aws
from cpm.resources import _ec2, _images, _instance_launch, _instance_volumes
from cpm.resources._instance_options import RecoverOptions
from cpm.resources._recovery import NO_FIELD, wanted_tags
from cpm.resources.contract import Copied, Json, OptionRefused, Order, Source


def plan(aws: Aws, source: Source, options: RecoverOptions) -> list[Order]:
    """The chain of orders that launches the instance again; raises OptionRefused."""
    image = next((copy for copy in source.copies if copy.collection == _images.ONLY_AMIS), None)
    if image is not None:
        return _plan_from_image(aws, source, image, options)
    if options.launch_from == "I":
        text = "the backup has no AMI that holds its data"
        raise OptionRefused("launch_from", "invalid", text)
    if source.facts["platform"] == "windows":
        text = "AWS launches Windows from an image that was made as one, not from snapshots"
        raise OptionRefused("launch_from", "invalid", text)
    volumes = _instance_volumes.to_launch_with(aws, source, options)
    root_device = source.facts["root_device"]
    if root_device not in volumes:
        raise OptionRefused(NO_FIELD, "invalid", f"the backup has no copy of root {root_device}")
    return [
        Order("register_image", {"parameters": _image(source.facts, volumes)}, step="image"),
        Order("run_instances", _run(aws, source, options, volumes), step="run", after="image"),
        *_after_launch(source, options),
        Order("deregister_image", {}, step="tidy", after="run"),
    ]


def _plan_from_image(
    aws: Aws, source: Source, image: Copied, options: RecoverOptions
) -> list[Order]:
    """The backup is an AMI and nothing else: its snapshots are the copies of the volumes."""
    if _ec2.one(aws, _ec2.IMAGES, image.aws_ref) is None:
        text = f"AMI {image.aws_ref} does not exist in {aws.region}"
        raise OptionRefused(NO_FIELD, "does_not_exist", text)
    if options.launch_from == "S":
        text = "the backup is an AMI, without snapshots of its own"
        raise OptionRefused("launch_from", "invalid", text)
    devices: Mapping[str, str] = image.facts["snapshots"]
    volumes = {volume["device"]: volume for volume in source.facts["volumes"]}
    copies = [
        replace(image, aws_ref=ref, device=device, size_gib=None, facts=volumes.get(device, {}))
        for device, ref in devices.items()
    ]
    source = replace(source, copies=copies)
    wanted = _instance_volumes.to_launch_with(aws, source, options)
    run = _run(aws, source, options, wanted) | {"image_id": image.aws_ref}
    left_out = [
        {"DeviceName": device, "NoDevice": ""} for device in devices if device not in wanted
    ]
    run["parameters"]["BlockDeviceMappings"] += left_out
    return [Order("run_instances", run, step="run"), *_after_launch(source, options)]


def _run(aws: Aws, source: Source, options: RecoverOptions, volumes: Mapping[str, Json]) -> Json:
    mappings = [*_instance_volumes.mappings(volumes, source.facts["root_device"])]
    launch = _instance_launch.parameters(aws, source, options)
    return {
        "parameters": launch | {"BlockDeviceMappings": mappings},
        "tags": wanted_tags(options, source.facts["tags"]),
        "volume_tags": dict(options.additional_tags),
    }


def _after_launch(source: Source, options: RecoverOptions) -> list[Order]:
    return [
        Order("tag_volumes", _volume_tags(source, options), step="tags", after="run"),
        *([] if options.start else [Order("stop_instances", {}, step="stop", after="run")]),
    ]


def _volume_tags(source: Source, options: RecoverOptions) -> Json:
    """Each volume's own tags: a launch can only give all volumes the same."""
    return {
        "tags_by_device": {
            copy.device: wanted_tags(options, copy.facts.get("tags", {}))
            for copy in source.copies
            if copy.device
        }
    }


def _image(facts: Json, volumes: Mapping[str, Json]) -> Json:
    """The parameters of `RegisterImage`; the other volumes come with the launch."""
    root = volumes[facts["root_device"]]
    chosen = {
        "Architecture": facts["architecture"],
        "VirtualizationType": facts["virtualization"],
        "RootDeviceName": facts["root_device"],
        "EnaSupport": facts["ena"] or None,
        "BootMode": facts["boot_mode"],
        "TpmSupport": facts["tpm"],
        "BlockDeviceMappings": [
            {"DeviceName": facts["root_device"], "Ebs": {"SnapshotId": root["SnapshotId"]}}
        ],
    }
    return {name: value for name, value in chosen.items() if value is not None}
