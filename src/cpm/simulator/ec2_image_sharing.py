"""AMIs are shared with other accounts, or with all, and taken back; their texts change."""

from collections.abc import Mapping
from typing import Any

from cpm.simulator import ec2_encryption, ec2_images
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ec2_errors import check_account_id, invalid_combination, invalid_value
from cpm.simulator.ec2_images import Image
from cpm.simulator.errors import AwsError

Permission = Mapping[str, str]


def install(handlers: Handlers) -> None:
    """Take over the attributes of AMIs."""
    handlers.add(
        "ec2",
        {
            "DescribeImageAttribute": describe_image_attribute,
            "ModifyImageAttribute": modify_image_attribute,
            "ResetImageAttribute": reset_image_attribute,
        },
    )


def modify_image_attribute(call: Call) -> Mapping[str, Any]:
    """Share an AMI, end that, or describe it anew."""
    image = ec2_images.own(call, call.params["ImageId"])
    added, removed = _permissions(call)
    description = _new_description(call)
    if not added and not removed and description is None:
        raise invalid_combination("No attributes specified.")
    _check(image, added, removed)
    for permission in added:
        _grant(image, permission)
    for permission in removed:
        _withdraw(image, permission)
    if description is not None:
        image.description = description
    return {}


def describe_image_attribute(call: Call) -> Mapping[str, Any]:
    """One attribute of an AMI: whom it is shared with, or its description."""
    image = ec2_images.own(call, call.params["ImageId"])
    match call.params["Attribute"]:
        case "launchPermission":
            shared: list[Permission] = [{"UserId": user} for user in sorted(image.user_ids)]
            if image.is_public:
                shared.append({"Group": "all"})
            return {"ImageId": image.id, "LaunchPermissions": shared}
        case "description":
            return {"ImageId": image.id, "Description": {"Value": image.description}}
        case attribute:
            raise NotImplementedError(f"the attribute {attribute}")


def reset_image_attribute(call: Call) -> Mapping[str, Any]:
    """Share an AMI with nobody."""
    image = ec2_images.own(call, call.params["ImageId"])
    image.user_ids.clear()
    image.is_public = False
    return {}


def _permissions(call: Call) -> tuple[list[Permission], list[Permission]]:
    permission = call.get("LaunchPermission", {})
    added, removed = list(permission.get("Add", [])), list(permission.get("Remove", []))
    named = [{"UserId": user} for user in call.get("UserIds", [])]
    named += [{"Group": group} for group in call.get("UserGroups", [])]
    match call.get("OperationType"):
        case "add":
            added += named
        case "remove":
            removed += named
    return added, removed


def _new_description(call: Call) -> str | None:
    value = call.get("Description")
    if value is None and call.get("Attribute") == "description":
        value = call.get("Value")
    return None if value is None else str(value["Value"] if isinstance(value, Mapping) else value)


def _check(image: Image, added: list[Permission], removed: list[Permission]) -> None:
    for permission in added + removed:
        if "UserId" in permission:
            check_account_id(permission["UserId"])
        if permission.get("Group", "all") != "all":
            raise invalid_value(f"Invalid value '{permission['Group']}' for group.")
    keys = [snapshot.encryption.kms_key_id for snapshot in image.snapshots()]
    if added and any(key and ec2_encryption.is_aws_managed(image.ec2_backend, key) for key in keys):
        raise AwsError(
            "InvalidParameter",
            "Snapshots encrypted with the AWS Managed CMK can't be shared. Specify another "
            "snapshot.",
        )


def _grant(image: Image, permission: Permission) -> None:
    if "Group" in permission:
        image.is_public = True
    else:
        image.user_ids.add(permission["UserId"])


def _withdraw(image: Image, permission: Permission) -> None:
    if "Group" in permission:
        image.is_public = False
    else:
        image.user_ids.discard(permission["UserId"])
