"""Snapshots are made of volumes and of whole instances, and deleted again."""

from collections.abc import Mapping, Sequence
from typing import Any

from cpm.kernel import clock
from cpm.simulator import (
    ec2_images,
    ec2_instance_view,
    ec2_instances,
    ec2_quotas,
    ec2_snapshots,
    ec2_tags,
    ec2_volumes,
)
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ec2_errors import incorrect_state, invalid_combination, invalid_value
from cpm.simulator.ec2_snapshots import Snapshot
from cpm.simulator.ec2_volumes import Volume
from cpm.simulator.errors import AwsError
from cpm.simulator.lives import State


def install(handlers: Handlers) -> None:
    """Take over making and deleting snapshots."""
    handlers.add(
        "ec2",
        {
            "CreateSnapshot": create_snapshot,
            "CreateSnapshots": create_snapshots,
            "DeleteSnapshot": delete_snapshot,
        },
    )


def snapshot_of(
    call: Call, volume: Volume, tags: Mapping[str, str], description: str, *origins: str
) -> Snapshot:
    """A new snapshot of `volume`; `origins` are what else it comes from, such as an instance."""
    snapshot = ec2_snapshots.make(
        volume.ec2_backend,
        call,
        tags,
        volume_id=volume.id,
        volume_size=volume.size,
        description=description,
        encryption=volume.encryption,
        contents=volume.contents.fork(),
        lineage=volume.lineage,
        origins=frozenset((volume.id, *origins)),
    )
    volume.last_snapshot_at = clock.now()
    volume.recent_snapshot_ids.append(snapshot.id)
    return snapshot


def create_snapshot(call: Call) -> Mapping[str, Any]:
    """A snapshot of one volume."""
    tags = ec2_tags.specified(call, "snapshot")["snapshot"]
    volume = ec2_volumes.own(call, call.params["VolumeId"])
    if volume.status == "creating":
        raise incorrect_state(f"The volume '{volume.id}' is in the 'creating' state.")
    ec2_quotas.check_new_snapshots(call, [volume])
    return snapshot_of(call, volume, tags, call.get("Description", "")).shown(call.account)


def create_snapshots(call: Call) -> Mapping[str, Any]:
    """Snapshots of an instance's volumes at one point in time: all of them, or none."""
    tags = ec2_tags.specified(call, "snapshot")["snapshot"]
    instance_id = call.params["InstanceSpecification"]["InstanceId"]
    volumes = _chosen_volumes(call, instance_id)
    ec2_quotas.check_new_snapshots(call, volumes)
    made = [
        snapshot_of(
            call, volume, _with_copied(call, volume, tags), call.get("Description", ""), instance_id
        )
        for volume in volumes
    ]
    return {"Snapshots": [_info(snapshot) for snapshot in made]}


def delete_snapshot(call: Call) -> Mapping[str, Any]:
    """Delete a snapshot; a pending one goes when its making is over, as in AWS."""
    snapshot = ec2_snapshots.own(call, call.params["SnapshotId"])
    users = ec2_images.users_of(snapshot.ec2_backend, snapshot.id)
    if users:
        raise AwsError(
            "InvalidSnapshot.InUse",
            f"The snapshot {snapshot.id} is currently in use by {', '.join(users)}",
        )
    if snapshot.life.state is State.PENDING and not snapshot.is_open:
        snapshot.delete_requested = True
    else:
        ec2_snapshots.remove(snapshot)
    return {}


def _chosen_volumes(call: Call, instance_id: str) -> Sequence[Volume]:
    specification = call.params["InstanceSpecification"]
    instance = ec2_instances.own(call, instance_id)
    excluded = set(specification.get("ExcludeDataVolumeIds", []))
    boot = _boot_volume_id(instance)
    if boot in excluded:
        raise invalid_combination(
            "The root volume cannot be excluded with ExcludeDataVolumeIds; use ExcludeBootVolume."
        )
    attached = [item.volume_id for item in ec2_instance_view.attachments(instance)]
    unknown = excluded - set(attached)
    if unknown:
        raise invalid_value(f"{', '.join(sorted(unknown))} not attached to {instance_id}")
    if specification.get("ExcludeBootVolume"):
        excluded.add(boot)
    chosen = [item for item in attached if item not in excluded]
    if not chosen:
        raise AwsError("InvalidParameter", f"{instance_id} has no volumes to make snapshots of")
    return [ec2_volumes.own(call, volume_id) for volume_id in chosen]


def _boot_volume_id(instance: Any) -> str:
    root = instance.block_device_mapping.get(instance.root_device_name)
    return root.volume_id if root else ""


def _with_copied(call: Call, volume: Volume, tags: Mapping[str, str]) -> dict[str, str]:
    copied = volume.tags if call.get("CopyTagsFromSource") == "volume" else {}
    return {**ec2_tags.without_reserved(copied), **tags}


def _info(snapshot: Snapshot) -> Mapping[str, Any]:
    shown = snapshot.shown(snapshot.owner_id)
    return {name: value for name, value in shown.items() if name not in ("KmsKeyId", "StorageTier")}
