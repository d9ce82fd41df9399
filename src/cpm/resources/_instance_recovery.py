"""Planning an instance's recovery: what it is launched from, the launch, and what follows.

There are three ways. The AMI that is the backup is launched as it is. Where the backup is
snapshots, an image is registered of the root's for the launch. And where they come with an initial
AMI, that is launched and its root volume exchanged, see `_root_exchange`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from cpm.aws.sessions import Aws
from cpm.resources import (
    _ec2,
    _images,
    _instance_launch,
    _instance_machine,
    _instance_network,
    _instance_volumes,
    _root_exchange,
    restored_snapshots,
)
from cpm.resources._instance_adjustments import put_off
from cpm.resources._instance_options import RecoverOptions
from cpm.resources._launching import Launching
from cpm.resources._recovery import NO_FIELD, wanted_tags
from cpm.resources.contract import Json, OptionRefused, Order, Restore
from cpm.resources.copied import Copied, Source, Use

# IAM actions of planning, beside those that describe what there is.
READ_PERMISSIONS = (
    *("ec2:GetEbsEncryptionByDefault", "iam:GetInstanceProfile"),
    "iam:ListInstanceProfilesForRole",
)

# What an AMI without a licence of its own says that it costs.
_NO_LICENCE = (None, "", "RunInstances")


def plan(aws: Aws, source: Source, options: RecoverOptions) -> list[Order]:
    """The chain of orders that launches the instance again; raises OptionRefused."""
    whole = _ami(source, _images.WHOLE)
    launching = Launching(aws, _with_parts(source, whole) if whole else source, options)
    orders = list(_orders(launching, whole, _ami(source, _images.INITIAL)))
    return [replace(orders[0], notes=launching.notes), *orders[1:]]


def plan_restores(aws: Aws, source: Source, options: RecoverOptions, use: Use) -> list[Restore]:
    """The snapshots of those volumes that the instance is to have; raises OptionRefused."""
    asked = {each.device: (number, each) for number, each in enumerate(options.block_devices)}
    wishes = []
    for copy in source.copies:
        number, wish = asked.get(copy.device or "", (0, None))
        if not (wish and wish.skip):
            wanted = None if use is Use.MEANS else wanted_tags(options, copy.facts.get("tags", {}))
            wishes.append(
                restored_snapshots.Wish(
                    copy,
                    use,
                    encrypted=wish.encrypted if wish else None,
                    kms_key=wish.kms_key if wish else None,
                    tags=wanted,
                    field_prefix=f"block_devices.{number}.",
                )
            )
    return restored_snapshots.plan(aws, wishes, is_elsewhere=source.is_elsewhere)


def _orders(launching: Launching, whole: Copied | None, initial: Copied | None) -> Iterator[Order]:
    asked = launching.options.launch_from
    if whole and asked != "S":
        return _from_whole(launching, whole)
    image = _initial_image(launching, initial) if asked != "S" else None
    if image:
        return _from_initial(launching, image)
    if launching.is_windows:
        text = "AWS launches Windows from an image that was made as one, not from snapshots"
        raise OptionRefused("launch_from", "invalid", text)
    return _from_snapshots(launching)


def _ami(source: Source, collections: tuple[str, ...]) -> Copied | None:
    return next((copy for copy in source.copies if copy.collection in collections), None)


def _with_parts(source: Source, whole: Copied) -> Source:
    """An AMI's snapshots are the copies of the volumes."""
    volumes = {volume["device"]: volume for volume in source.facts["volumes"]}
    devices: Mapping[str, str] = whole.facts["snapshots"]
    copies = [
        replace(whole, aws_ref=ref, device=device, size_gib=None, facts=volumes.get(device, {}))
        for device, ref in devices.items()
    ]
    return replace(source, copies=copies)


def _initial_image(launching: Launching, initial: Copied | None) -> Json | None:
    """The initial AMI as AWS has it; None where the launch can do without."""
    must_be = launching.options.launch_from == "I" or launching.is_windows
    if initial is None:
        if launching.options.launch_from == "I":
            text = "the backup has no AMI to launch from"
            raise OptionRefused("launch_from", "invalid", text)
        return None
    region = launching.aws.region
    image = _ec2.one(launching.aws, _ec2.IMAGES, initial.aws_ref)
    if image is None or image["State"] != "available":
        text = f"AMI {initial.aws_ref} cannot be launched in {region} any longer"
        if must_be:
            raise OptionRefused("launch_from", "does_not_exist", text)
        launching.note(f"launched from an image of the root snapshot, as {text}")
        return None
    return image


def _from_whole(launching: Launching, whole: Copied) -> Iterator[Order]:
    if _ec2.one(launching.aws, _ec2.IMAGES, whole.aws_ref) is None:
        text = f"AMI {whole.aws_ref} does not exist in {launching.aws.region}"
        raise OptionRefused(NO_FIELD, "does_not_exist", text)
    run = _run(launching, {"image_id": whole.aws_ref})
    mapped = {mapping["DeviceName"] for mapping in run["parameters"]["BlockDeviceMappings"]}
    left_out = [
        {"DeviceName": copy.device, "NoDevice": ""}
        for copy in launching.source.copies
        if copy.device not in mapped
    ]
    run["parameters"]["BlockDeviceMappings"] += left_out
    yield from _launch(launching, run)


def _from_snapshots(launching: Launching) -> Iterator[Order]:
    facts = launching.facts
    if facts["usage_operation"] not in _NO_LICENCE or facts["product_codes"]:
        text = f"AWS may not know that it is licensed ({facts['platform_details']})"
        launching.note(f"{text}, as an image of a snapshot does not always say so")
    run = _run(launching, {})
    root = next(copy for copy in launching.source.copies if copy.device == launching.root_device)
    image = {"parameters": _image(facts, root.aws_ref)}
    yield Order("register_image", image, step="image")
    yield from _launch(launching, run, after="image")
    yield Order("deregister_image", {}, step="tidy", after="run")


def _from_initial(launching: Launching, image: Json) -> Iterator[Order]:
    volumes = _instance_volumes.to_launch_with(launching)
    parameters, zone = _parameters(launching, volumes)
    run = {
        "parameters": parameters,
        "tags": wanted_tags(launching.options, launching.facts["tags"]),
    }
    exchange = _root_exchange.Exchange(launching, image, volumes, zone)
    return exchange.orders(run)


def _run(launching: Launching, spec: Json) -> Json:
    volumes = _instance_volumes.to_launch_with(launching)
    parameters, _ = _parameters(launching, volumes)
    mappings = list(_instance_volumes.mappings(volumes, launching.root_device))
    return spec | {
        "parameters": parameters | {"BlockDeviceMappings": mappings},
        "tags": wanted_tags(launching.options, launching.facts["tags"]),
        "volume_tags": dict(launching.options.additional_tags),
    }


def _parameters(launching: Launching, volumes: Mapping[str, Json]) -> tuple[Json, str]:
    """What `RunInstances` is given beside image, volumes and tags; and the zone."""
    machine = _instance_machine.choose(launching)
    network = _instance_network.plan(launching, machine.most_interfaces)
    parameters = _instance_launch.parameters(launching, machine, network)
    if launching.facts["hibernation"]:
        if _instance_machine.can_hibernate(machine) and _is_encrypted(launching, volumes):
            parameters["HibernationOptions"] = {"Configured": True}
        else:
            launching.note("without hibernation, which needs its type and an encrypted root")
    return parameters, network.zone


def _is_encrypted(launching: Launching, volumes: Mapping[str, Json]) -> bool:
    """Whether the new root volume will be."""
    originals = {each["device"]: each["encrypted"] for each in launching.facts["volumes"]}
    device = launching.root_device
    return bool(volumes[device].get("Encrypted") or originals.get(device))


def _launch(launching: Launching, run: Json, after: str = "") -> Iterator[Order]:
    """The launch itself, with all volumes, and what follows it."""
    stop = not launching.options.start
    later = put_off(run["parameters"], launching.facts, stops=stop)
    yield Order("run_instances", run, step="run", after=after)
    yield Order("tag_volumes", _volume_tags(launching), step="tags", after="run")
    if stop:
        yield Order("stop_instances", {}, step="stop", after="run")
    if later:
        yield Order("adjust_instances", later, step="adjust", after="stop" if stop else "run")


def _volume_tags(launching: Launching) -> Json:
    """Each volume's own tags: a launch can only give all volumes the same."""
    return {
        "tags_by_device": {
            copy.device: wanted_tags(launching.options, copy.facts.get("tags", {}))
            for copy in launching.source.copies
            if copy.device
        }
    }


def _image(facts: Json, root_snapshot: str) -> Json:
    """The parameters of `RegisterImage`; the other volumes come with the launch."""
    device = facts["root_device"]
    chosen = {
        "Architecture": facts["architecture"],
        "VirtualizationType": facts["virtualization"],
        "RootDeviceName": device,
        "EnaSupport": facts["ena"] or None,
        "SriovNetSupport": facts["sriov"],
        "BootMode": facts["boot_mode"],
        "TpmSupport": facts["tpm"],
        "ImdsSupport": facts["imds"],
        "BlockDeviceMappings": [{"DeviceName": device, "Ebs": {"SnapshotId": root_snapshot}}],
    }
    return {name: value for name, value in chosen.items() if value is not None}
