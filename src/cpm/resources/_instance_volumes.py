"""The volumes that a recovered instance is launched with: the backup's, changed as was asked."""

from collections.abc import Iterator, Mapping

from cpm.resources._instance_options import BlockDevice, RecoverOptions
from cpm.resources._launching import Launching
from cpm.resources._recovery import (
    NO_FIELD,
    VolumeWish,
    completed_snapshots,
    volume_parameters,
)
from cpm.resources.contract import Json, OptionRefused
from cpm.resources.copied import Copied

# AWS starts nothing from these.
_NOT_FOR_ROOTS = ("st1", "sc1")


def to_launch_with(launching: Launching) -> dict[str, Json]:
    """The volumes to launch with, by device, in the words of `EbsBlockDevice`."""
    root_device = launching.root_device
    copies = {copy.device: copy for copy in launching.source.copies if copy.device}
    taken = {device for copy in copies.values() for device in copy.facts.get("set_devices", ())}
    wishes = _wishes(launching.options, {*copies, *taken}, root_device)
    _check_all_there(taken - set(copies), wishes)
    if root_device not in copies:
        raise OptionRefused(NO_FIELD, "invalid", f"the backup has no copy of root {root_device}")
    wanted = {device: copy for device, copy in copies.items() if not _is_skipped(wishes, device)}
    found = completed_snapshots(launching.aws, {copy.aws_ref: copy for copy in wanted.values()})
    return {
        device: _volume(copy, found[copy.aws_ref], *wishes.get(device, (None, "")))
        for device, copy in wanted.items()
    }


def _wishes(
    options: RecoverOptions, devices: set[str], root_device: str
) -> dict[str, tuple[BlockDevice, str]]:
    """What is asked of each device, with the wire name of where it is asked."""
    wishes: dict[str, tuple[BlockDevice, str]] = {}
    for number, wish in enumerate(options.block_devices):
        place = f"block_devices.{number}."
        if wish.device not in devices:
            text = f"the backup has no volume of {wish.device}"
            raise OptionRefused(place + "device", "invalid_choice", text)
        if wish.device in wishes:
            raise OptionRefused(place + "device", "unique", f"{wish.device} comes twice")
        if wish.skip and wish.device == root_device:
            raise OptionRefused(place + "skip", "invalid", "the root volume cannot be left out")
        if wish.volume_type in _NOT_FOR_ROOTS and wish.device == root_device:
            text = f"a root volume cannot be {wish.volume_type}"
            raise OptionRefused(place + "volume_type", "invalid", text)
        wishes[wish.device] = wish, place
    return wishes


def _check_all_there(missing: set[str], wishes: Mapping[str, tuple[BlockDevice, str]]) -> None:
    """An instance that silently lacks a volume is worse than none."""
    lost = sorted(device for device in missing if not _is_skipped(wishes, device))
    if lost:
        text = f"there is no good snapshot of {', '.join(lost)}; skip it to recover without"
        raise OptionRefused("block_devices", "required", text)


def _is_skipped(wishes: Mapping[str, tuple[BlockDevice, str]], device: str) -> bool:
    return device in wishes and wishes[device][0].skip


def _volume(copy: Copied, snapshot: Json, wish: BlockDevice | None, place: str) -> Json:
    if wish is None:
        parameters = volume_parameters(VolumeWish(), copy.facts, snapshot)
        keep = None
    else:
        wanted = VolumeWish(
            volume_type=wish.volume_type,
            size_gib=wish.size_gib,
            iops=wish.iops,
            throughput=wish.throughput,
            encrypted=wish.encrypted,
            kms_key=wish.kms_key,
            field_prefix=place,
        )
        parameters = volume_parameters(wanted, copy.facts, snapshot)
        keep = wish.delete_on_termination
    original = copy.facts.get("delete_on_termination", False)
    return parameters | {"DeleteOnTermination": original if keep is None else keep}


def mappings(volumes: Mapping[str, Json], root_device: str) -> Iterator[Json]:
    """The elements of `BlockDeviceMappings`."""
    for device, volume in volumes.items():
        # The root's snapshot is the image's and may not be named again.
        left_out = "SnapshotId" if device == root_device else ""
        yield {
            "DeviceName": device,
            "Ebs": {name: value for name, value in volume.items() if name != left_out},
        }
