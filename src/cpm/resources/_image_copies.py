"""AMIs copied to other regions and accounts, snapshots and all.

Another account needs the AMI and each of its snapshots shared. Where AWS's own key encrypts one of
these, the AMI is copied in its place under another key first, and that copy is shared.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ebs_snapshots, _ec2, _images, _instance_facts, _kms, _snapshot_copies
from cpm.resources._recovery import NO_FIELD
from cpm.resources._volumes import USE_OF_KEYS
from cpm.resources.contract import Ask, Effect, Json, OptionRefused, Order, Part, Refs, Where
from cpm.resources.copied import CopyWish

# AWS makes so many copies of AMIs at once in one region of an account.
MOST_COPIES = 100
# What an AMI that is a means to a copy is called among refs.
_MEANS = "image"


def plan(aws: Aws, wish: CopyWish) -> list[Order]:
    """The chain that copies an AMI; `aws` is the source's. Raises OptionRefused and Fault."""
    image = _ec2.one(aws, _ec2.IMAGES, wish.original.aws_ref)
    if image is None:
        text = f"AMI {wish.original.aws_ref} does not exist in {wish.source_region}"
        raise OptionRefused(NO_FIELD, "does_not_exist", text)
    if not wish.crosses_accounts:
        return [_copy(wish, image, image["ImageId"])]
    original = image["ImageId"]
    if image["OwnerId"] != wish.source_account:
        return [_copy(wish, image, original)]  # it is not ours to share
    if not _has_awss_key(aws, image):
        # What its owner has shared himself is not ours to end.
        closed = [step for step in _sharing(wish, image, original) if not _is_open(aws, step)]
        return _in_a_row([*closed, _copy(wish, image, original)])
    _kms.check_sharing_key(aws, wish)
    spec = {**_spec(wish, image, original), "kms_key": wish.sharing_key, "tags": {}}
    rekey = Order(COPY_TO_SHARE.name, spec, step="rekey", where=Where.SOURCE)
    return _in_a_row([rekey, *_sharing(wish, image, ""), _copy(wish, image, "")])


def _in_a_row(steps: Sequence[Order]) -> list[Order]:
    befores = ["", *(step.step for step in steps)]
    return [replace(step, after=before) for step, before in zip(steps, befores, strict=False)]


def _has_awss_key(aws: Aws, image: Json) -> bool:
    """Whether a key of AWS's own encrypts one of the AMI's snapshots."""
    if not _is_encrypted(image):
        return False
    found = _ec2.by_ids(aws, _ec2.SNAPSHOTS, _images.snapshots_of(image).values())
    keys = {snapshot["KmsKeyId"] for snapshot in found if snapshot.get("KmsKeyId")}
    return any(_kms.is_aws_managed(aws, key) for key in sorted(keys))


def _is_encrypted(image: Json) -> bool:
    devices = image.get("BlockDeviceMappings", ())
    return any(device.get("Ebs", {}).get("Encrypted") for device in devices)


def _sharing(wish: CopyWish, image: Json, image_id: str) -> Iterator[Order]:
    """Steps that let the target's account copy an AMI, or what the step `rekey` has made of it."""
    account = wish.target_account
    for number, (device, snapshot_id) in enumerate(_images.snapshots_of(image).items()):
        part = {"snapshot_id": snapshot_id if image_id else "", "device": device}
        spec = {**part, "account": account}
        yield Order(SHARE_PART.name, spec, step=f"share-{number}", where=Where.SOURCE)
    spec = {"image_id": image_id, "account": account}
    yield Order(SHARE.name, spec, step="share", where=Where.SOURCE)


def _is_open(aws: Aws, step: Order) -> bool:
    """Whether what a step shares is shared already."""
    account, spec = step.spec["account"], step.spec
    if step.effect == SHARE_PART.name:
        return _snapshot_copies.is_open_to(aws, account, spec["snapshot_id"])
    named = {"ImageId": spec["image_id"], "Attribute": "launchPermission"}
    permissions = aws.call("ec2", "DescribeImageAttribute", **named)["LaunchPermissions"]
    return _snapshot_copies.names(permissions, account)


def _copy(wish: CopyWish, image: Json, image_id: str) -> Order:
    original = wish.original
    copies = {_images.ONLY_AMIS: _images.ONLY_DR_AMIS}
    facts = {name: value for name, value in original.facts.items() if name != "snapshots"}
    part = Part(
        kind=_instance_facts.KIND,
        collection=copies.get(original.collection, _images.DR_INITIAL_AMIS),
        resource_id=original.resource_id,
        size_gib=original.size_gib,
        encrypted=_is_encrypted(image),
        facts=facts,
    )
    spec = _spec(wish, image, image_id)
    return Order(COPY.name, spec, (part,), step="copy")


def _spec(wish: CopyWish, image: Json, image_id: str) -> Json:
    return {
        "resource_id": wish.original.resource_id,
        # Without one: what the step `rekey` has made.
        "image_id": image_id,
        "source_region": wish.source_region,
        "encrypted": _is_encrypted(image),
        # The target's own key for EBS, where none is named.
        "kms_key": "",
        "tags": tags.of_resource(_ec2.tags_of(image)),
    }


def _start_copy(aws: Aws, ask: Ask) -> Refs:
    return {ask.spec["resource_id"]: _make_copy(aws, ask)}


def _start_means(aws: Aws, ask: Ask) -> Refs:
    return {_MEANS: _make_copy(aws, ask)}


def _make_copy(aws: Aws, ask: Ask) -> str:
    spec, carried = ask.spec, _snapshot_copies.carried(ask)
    instance_id, region = spec["resource_id"], spec["source_region"]
    return _images.make(
        aws,
        ask,
        "CopyImage",
        ClientToken=ask.token,
        SourceImageId=_meant(ask),
        SourceRegion=region,
        Description=_ebs_snapshots.description_of_copy(ask.marks, instance_id, region),
        TagSpecifications=[tags.specification(each, carried) for each in ("image", "snapshot")],
        **({"Encrypted": True} if spec["encrypted"] else {}),
        **({"KmsKeyId": spec["kms_key"]} if spec["kms_key"] else {}),
    )


def _meant(ask: Ask) -> str:
    """The AMI that a step is about: a given one, or what was made to be shared."""
    return str(ask.spec["image_id"] or ask.earlier["rekey"][_MEANS])


def _find_copy(aws: Aws, ask: Ask) -> Refs | None:
    image_id = _images.named(aws, ask)
    return {ask.spec["resource_id"]: image_id} if image_id else None


def _find_means(aws: Aws, ask: Ask) -> Refs | None:
    image_id = _images.named(aws, ask)
    return {_MEANS: image_id} if image_id else None


def _delete_made(aws: Aws, refs: Refs) -> None:
    for image_id in refs.values():
        _images.delete_image(aws, image_id)


def _expire_made(aws: Aws, refs: Refs, expired_at: str) -> None:
    for image_id in refs.values():
        made = _images.snapshots_made_for(aws, image_id)
        _snapshot_copies.mark_expired(aws, [image_id, *made], expired_at)


def _expire(aws: Aws, ask: Ask) -> Refs:
    _expire_made(aws, {"image": ask.spec["aws_ref"]}, ask.spec["expired_at"])
    return {}


def _start_share_part(aws: Aws, ask: Ask) -> Refs:
    snapshot_id = ask.spec["snapshot_id"] or _made_at(aws, ask)
    return _snapshot_copies.share_with(aws, snapshot_id, ask.spec["account"])


def _made_at(aws: Aws, ask: Ask) -> str:
    """The snapshot that the AMI has at the device which was made to be shared."""
    image_id = ask.earlier["rekey"][_MEANS]
    image = _ec2.one(aws, _ec2.IMAGES, image_id)
    if image is None:
        raise Fault(FaultKind.TRANSIENT, f"AMI {image_id} is not listed yet")
    return _images.snapshots_of(image)[ask.spec["device"]]


def _start_share(aws: Aws, ask: Ask) -> Refs:
    image_id, account = _meant(ask), ask.spec["account"]
    _change_sharing(aws, image_id, "add", account)
    # An undo is given the refs and nothing else.
    return {"share": f"{image_id} {account}"}


def _unshare(aws: Aws, refs: Refs) -> None:
    image_id, account = refs["share"].split()
    try:
        _change_sharing(aws, image_id, "remove", account)
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING and fault.code != _images.DEREGISTERED:
            raise


def _change_sharing(aws: Aws, image_id: str, change: str, account: str) -> None:
    aws.call(
        "ec2",
        "ModifyImageAttribute",
        ImageId=image_id,
        Attribute="launchPermission",
        OperationType=change,
        UserIds=[account],
    )


# IAM actions of planning copies.
READ_PERMISSIONS = (
    "ec2:DescribeImageAttribute",
    "ec2:DescribeSnapshotAttribute",
    *_kms.READ_PERMISSIONS,
)

_COPYING = ("ec2:CopyImage", "ec2:CreateTags", "ec2:DescribeImages", *USE_OF_KEYS)
_DELETING = ("ec2:DeregisterImage", "ec2:DeleteSnapshot", "ec2:DescribeSnapshots")
_SHARING = ("ec2:ModifyImageAttribute",)

COPY = Effect(
    name="copy_image",
    operation="ec2:CopyImage",
    permissions=_COPYING,
    start=_start_copy,
    find=_find_copy,
    watch=_images.WATCH.name,
    undo=_delete_made,
    undo_permissions=_DELETING,
    expire=_expire_made,
    expire_permissions=("ec2:CreateTags", "ec2:DescribeSnapshots"),
    most_at_once=MOST_COPIES,
)
COPY_TO_SHARE = Effect(
    name="copy_image_to_share",
    operation="ec2:CopyImage",
    permissions=_COPYING,
    start=_start_means,
    find=_find_means,
    watch=_images.WATCH.name,
    undo=_delete_made,
    undo_permissions=_DELETING,
    temporary=True,
    most_at_once=MOST_COPIES,
    at_source=True,
)
SHARE = Effect(
    name="share_image",
    operation="ec2:ModifyImageAttribute",
    permissions=_SHARING,
    start=_start_share,
    undo=_unshare,
    undo_permissions=_SHARING,
    temporary=True,
    at_source=True,
)
SHARE_PART = Effect(
    name="share_image_snapshot",
    operation="ec2:ModifySnapshotAttribute",
    permissions=("ec2:ModifySnapshotAttribute", "ec2:DescribeImages"),
    start=_start_share_part,
    undo=_snapshot_copies.unshare,
    undo_permissions=("ec2:ModifySnapshotAttribute",),
    temporary=True,
    at_source=True,
)
EXPIRE = Effect(
    name="expire",
    operation="ec2:CreateTags",
    permissions=("ec2:CreateTags", "ec2:DescribeSnapshots"),
    start=_expire,
)
