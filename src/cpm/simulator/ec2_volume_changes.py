"""ModifyVolume: a volume grows or changes its type while it is in use."""

from collections.abc import Mapping
from typing import Any

from cpm.kernel import clock
from cpm.simulator import ec2_state, ec2_volumes
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ec2_errors import invalid_value
from cpm.simulator.ec2_volume_types import performance


def install(handlers: Handlers) -> None:
    """Take over changes of volumes."""
    handlers.add(
        "ec2",
        {
            "ModifyVolume": modify_volume,
            "DescribeVolumesModifications": describe_volumes_modifications,
        },
    )


def modify_volume(call: Call) -> Mapping[str, Any]:
    """Change size, type or speed; it is in force at once."""
    volume = ec2_volumes.own(call, call.params["VolumeId"])
    size = call.get("Size", volume.size)
    if size < volume.size:
        raise invalid_value(f"New size cannot be smaller than existing size ({volume.size} GiB).")
    wanted = {"VolumeType": volume.performance.volume_type, **call.params}
    before, after = volume.performance, performance(wanted, size)
    modification = {
        "VolumeId": volume.id,
        "OriginalSize": volume.size,
        "TargetSize": size,
        "OriginalVolumeType": before.volume_type,
        "TargetVolumeType": after.volume_type,
        "OriginalIops": before.iops,
        "TargetIops": after.iops,
        "StartTime": clock.now(),
    }
    volume.size, volume.performance = size, after
    volume.modifications.append(modification)
    return {"VolumeModification": {**modification, "ModificationState": "modifying", "Progress": 0}}


def describe_volumes_modifications(call: Call) -> Mapping[str, Any]:
    """The last change of each volume that was ever changed."""
    volumes = ec2_volumes.table(ec2_state.backend(call.account, call.region))
    wanted = [ec2_volumes.own(call, item) for item in call.get("VolumeIds", [])]
    done = {"ModificationState": "completed", "Progress": 100}
    return {
        "VolumesModifications": [
            {**volume.modifications[-1], **done}
            for volume in wanted or volumes.values()
            if volume.modifications
        ]
    }
