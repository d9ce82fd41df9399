"""Planning an instance's recovery: an image of the root snapshot, a launch from it, tidying up."""

from collections.abc import Mapping

from cpm.aws.sessions import Aws
from cpm.resources import _instance_launch, _instance_volumes
from cpm.resources._instance_options import RecoverOptions
from cpm.resources._recovery import NO_FIELD, wanted_tags
from cpm.resources.contract import Json, OptionRefused, Order, Source


def plan(aws: Aws, source: Source, options: RecoverOptions) -> list[Order]:
    """The chain of orders that launches the instance again; raises OptionRefused."""
    if source.facts["platform"] == "windows":
        text = "AWS launches Windows from an image that was made as one, not from snapshots"
        raise OptionRefused("launch_from", "invalid", text)
    volumes = _instance_volumes.to_launch_with(aws, source, options)
    root_device = source.facts["root_device"]
    if root_device not in volumes:
        raise OptionRefused(NO_FIELD, "invalid", f"the backup has no copy of root {root_device}")
    mappings = [*_instance_volumes.mappings(volumes, root_device)]
    launch = _instance_launch.parameters(aws, source, options)
    run = {
        "parameters": launch | {"BlockDeviceMappings": mappings},
        "tags": wanted_tags(options, source.facts["tags"]),
        "volume_tags": dict(options.additional_tags),
    }
    return [
        Order("register_image", {"parameters": _image(source.facts, volumes)}, step="image"),
        Order("run_instances", run, step="run", after="image"),
        Order("tag_volumes", _volume_tags(source, options), step="tags", after="run"),
        *([] if options.start else [Order("stop_instances", {}, step="stop", after="run")]),
        Order("deregister_image", {}, step="tidy", after="run"),
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
