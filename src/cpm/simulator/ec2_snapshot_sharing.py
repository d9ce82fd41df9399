"""Snapshots are shared with other accounts, or with all, and taken back."""

from collections.abc import Iterable, Mapping
from typing import Any

from cpm.simulator import ec2_encryption, ec2_snapshots
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ec2_errors import check_account_id, invalid_value
from cpm.simulator.ec2_snapshots import Snapshot
from cpm.simulator.errors import AwsError


def install(handlers: Handlers) -> None:
    """Take over the permission to make volumes of a snapshot."""
    handlers.add(
        "ec2",
        {
            "DescribeSnapshotAttribute": describe_snapshot_attribute,
            "ModifySnapshotAttribute": modify_snapshot_attribute,
            "ResetSnapshotAttribute": reset_snapshot_attribute,
        },
    )


def modify_snapshot_attribute(call: Call) -> Mapping[str, Any]:
    """Share a snapshot, or end that, by `CreateVolumePermission` or by `OperationType`."""
    snapshot = ec2_snapshots.own(call, call.params["SnapshotId"])
    permission = call.get("CreateVolumePermission", {})
    added, removed = permission.get("Add", []), permission.get("Remove", [])
    named = [{"UserId": user} for user in call.get("UserIds", [])]
    named += [{"Group": group} for group in call.get("GroupNames", [])]
    match call.get("OperationType"):
        case "add":
            added = added + named
        case "remove":
            removed = removed + named
    if not added and not removed:
        raise AwsError("InvalidParameterCombination", "No attributes specified.")
    _check(added + removed)
    if added:
        _check_shareable(snapshot, added)
    _share(snapshot, added, removed)
    return {}


def describe_snapshot_attribute(call: Call) -> Mapping[str, Any]:
    """Whom a snapshot is shared with."""
    snapshot = ec2_snapshots.own(call, call.params["SnapshotId"])
    if call.params["Attribute"] != "createVolumePermission":
        return {"SnapshotId": snapshot.id, "ProductCodes": []}
    shared: list[Mapping[str, str]] = [{"UserId": user} for user in sorted(snapshot.user_ids)]
    if snapshot.is_public:
        shared.append({"Group": "all"})
    return {"SnapshotId": snapshot.id, "CreateVolumePermissions": shared}


def reset_snapshot_attribute(call: Call) -> Mapping[str, Any]:
    """Share a snapshot with nobody."""
    snapshot = ec2_snapshots.own(call, call.params["SnapshotId"])
    snapshot.user_ids.clear()
    snapshot.is_public = False
    return {}


def _check(permissions: Iterable[Mapping[str, str]]) -> None:
    for permission in permissions:
        if "UserId" in permission:
            check_account_id(permission["UserId"])
        if permission.get("Group", "all") != "all":
            raise invalid_value(f"Invalid value '{permission['Group']}' for group.")


def _check_shareable(snapshot: Snapshot, added: Iterable[Mapping[str, str]]) -> None:
    key = snapshot.encryption.kms_key_id
    if key is None:
        return
    if ec2_encryption.is_aws_managed(snapshot.ec2_backend, key):
        text = "Encrypted snapshots with EBS default key cannot be shared"
        raise AwsError("OperationNotPermitted", text)
    if any("Group" in permission for permission in added):
        raise AwsError("OperationNotPermitted", "Encrypted snapshots cannot be made public")


def _share(
    snapshot: Snapshot, added: Iterable[Mapping[str, str]], removed: Iterable[Mapping[str, str]]
) -> None:
    for permission in added:
        if "Group" in permission:
            snapshot.is_public = True
        else:
            snapshot.user_ids.add(permission["UserId"])
    for permission in removed:
        if "Group" in permission:
            snapshot.is_public = False
        else:
            snapshot.user_ids.discard(permission["UserId"])
