"""EBS snapshots copied to other regions and accounts.

Another account copies what was shared with it, straight to where the copy is to be. What AWS's own
key encrypts cannot be shared: that is copied in its place under another key first. That copy, and
the sharing, are means, which are taken back when the chain is over.
"""

from collections.abc import Iterable

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ebs_snapshots, _kms, _volumes
from cpm.resources.contract import Ask, Effect, Json, Order, Part, Refs, Where
from cpm.resources.copied import CopyWish

# AWS makes so many copies at once in one region of an account, and never more.
MOST_COPIES = 20
# What a snapshot that is a means to a copy is called among refs.
_MEANS = "snapshot"


def plan(aws: Aws, wish: CopyWish) -> list[Order]:
    """The chain that copies a snapshot; `aws` is the source's. Raises OptionRefused and Fault."""
    original = wish.original.aws_ref
    if not wish.crosses_accounts:
        return [_copy(wish, original)]
    key = wish.original.facts.get("kms_key_id")
    if not key or not _kms.is_aws_managed(aws, key):
        return [_share(wish, original), _copy(wish, original, after="share")]
    _kms.check_sharing_key(aws, wish)
    spec = {**_spec(wish, original), "kms_key": wish.sharing_key, "tags": {}}
    rekey = Order(COPY_TO_SHARE.name, spec, step="rekey", where=Where.SOURCE)
    return [rekey, _share(wish, "", after="rekey"), _copy(wish, "", after="share")]


def _share(wish: CopyWish, snapshot_id: str, *, after: str = "") -> Order:
    """The step that lets the target's account copy a snapshot, or what the step before has made."""
    spec = {"snapshot_id": snapshot_id, "account": wish.target_account}
    return Order(SHARE.name, spec, step="share", after=after, where=Where.SOURCE)


def _expire(aws: Aws, ask: Ask) -> Refs:
    mark_expired(aws, [ask.spec["aws_ref"]], ask.spec["expired_at"])
    return {}


def mark_expired(aws: Aws, ids: Iterable[str], expired_at: str) -> None:
    """Tag things of EC2 as expired; those that are gone need it no more."""
    try:
        aws.call(
            "ec2", "CreateTags", Resources=list(ids), Tags=tags.to_aws({tags.EXPIRED: expired_at})
        )
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise


def _copy(wish: CopyWish, snapshot_id: str, *, after: str = "") -> Order:
    original, spec = wish.original, _spec(wish, snapshot_id)
    part = Part(
        kind=_volumes.KIND,
        collection=_volumes.COPIES,
        resource_id=original.resource_id,
        device=original.device,
        size_gib=original.size_gib,
        encrypted=spec["encrypted"],
        facts=original.facts,
    )
    # One that stands alone is no chain, which costs less.
    return Order(COPY.name, spec, (part,), step="copy" if after else "", after=after)


def _spec(wish: CopyWish, snapshot_id: str) -> Json:
    facts = wish.original.facts
    return {
        "resource_id": wish.original.resource_id,
        # Without one: what the step `rekey` has made.
        "snapshot_id": snapshot_id,
        "source_region": wish.source_region,
        "encrypted": bool(facts.get("kms_key_id")),
        # The target's own key for EBS, where none is named.
        "kms_key": "",
        "tags": facts.get("tags", {}),
    }


def _start_copy(aws: Aws, ask: Ask) -> Refs:
    return {ask.spec["resource_id"]: _make_copy(aws, ask)}


def _start_means(aws: Aws, ask: Ask) -> Refs:
    return {_MEANS: _make_copy(aws, ask)}


def _make_copy(aws: Aws, ask: Ask) -> str:
    spec = ask.spec
    volume_id, region = spec["resource_id"], spec["source_region"]
    made = aws.call(
        "ec2",
        "CopySnapshot",
        SourceRegion=region,
        SourceSnapshotId=_meant(ask),
        Description=_ebs_snapshots.description_of_copy(ask.marks, volume_id, region),
        TagSpecifications=[tags.specification("snapshot", carried(ask))],
        **({"Encrypted": True} if spec["encrypted"] else {}),
        **({"KmsKeyId": spec["kms_key"]} if spec["kms_key"] else {}),
    )
    snapshot_id: str = made["SnapshotId"]
    return snapshot_id


def carried(ask: Ask) -> tags.Tags:
    """The tags of a copy: there is room for the mark of those that may not be deleted."""
    merged = tags.merged({**ask.marks, tags.EXPIRED: ""}, ask.spec["tags"])
    del merged[tags.EXPIRED]
    return merged


def _meant(ask: Ask) -> str:
    """The snapshot that a step is about: a given one, or what was made to be shared."""
    return str(ask.spec["snapshot_id"] or ask.earlier["rekey"][_MEANS])


def _find_copy(aws: Aws, ask: Ask) -> Refs | None:
    found = _ebs_snapshots.with_token(aws, ask)
    return {ask.spec["resource_id"]: found[0]["SnapshotId"]} if found else None


def _find_means(aws: Aws, ask: Ask) -> Refs | None:
    found = _ebs_snapshots.with_token(aws, ask)
    return {_MEANS: found[0]["SnapshotId"]} if found else None


def _delete_made(aws: Aws, refs: Refs) -> None:
    for snapshot_id in refs.values():
        _ebs_snapshots.delete_snapshot(aws, snapshot_id)


def _expire_made(aws: Aws, refs: Refs, expired_at: str) -> None:
    mark_expired(aws, refs.values(), expired_at)


def share_with(aws: Aws, snapshot_id: str, account: str) -> Refs:
    """Let an account copy a snapshot."""
    _change_sharing(aws, snapshot_id, "add", account)
    # An undo is given the refs and nothing else.
    return {"share": f"{snapshot_id} {account}"}


def unshare(aws: Aws, refs: Refs) -> None:
    """Take that back; a snapshot that is gone is shared with nobody."""
    snapshot_id, account = refs["share"].split()
    try:
        _change_sharing(aws, snapshot_id, "remove", account)
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise


def is_open_to(aws: Aws, account: str, snapshot_id: str) -> bool:
    """Whether an account may copy a snapshot already."""
    named = {"SnapshotId": snapshot_id, "Attribute": "createVolumePermission"}
    answer = aws.call("ec2", "DescribeSnapshotAttribute", **named)
    return names(answer["CreateVolumePermissions"], account)


def names(permissions: Iterable[Json], account: str) -> bool:
    """Whether permissions name an account, or everybody."""
    return any(each.get("UserId") == account or "Group" in each for each in permissions)


def _start_share(aws: Aws, ask: Ask) -> Refs:
    return share_with(aws, _meant(ask), ask.spec["account"])


def _change_sharing(aws: Aws, snapshot_id: str, change: str, account: str) -> None:
    aws.call(
        "ec2",
        "ModifySnapshotAttribute",
        SnapshotId=snapshot_id,
        Attribute="createVolumePermission",
        OperationType=change,
        UserIds=[account],
    )


_COPYING = ("ec2:CopySnapshot", "ec2:CreateTags", "ec2:DescribeSnapshots", *_volumes.USE_OF_KEYS)
_SHARING = ("ec2:ModifySnapshotAttribute",)

COPY = Effect(
    name="copy_snapshot",
    operation="ec2:CopySnapshot",
    permissions=_COPYING,
    start=_start_copy,
    find=_find_copy,
    watch=_ebs_snapshots.WATCH.name,
    undo=_delete_made,
    undo_permissions=("ec2:DeleteSnapshot",),
    expire=_expire_made,
    expire_permissions=("ec2:CreateTags",),
    most_at_once=MOST_COPIES,
)
COPY_TO_SHARE = Effect(
    name="copy_snapshot_to_share",
    operation="ec2:CopySnapshot",
    permissions=_COPYING,
    start=_start_means,
    find=_find_means,
    watch=_ebs_snapshots.WATCH.name,
    undo=_delete_made,
    undo_permissions=("ec2:DeleteSnapshot",),
    temporary=True,
    most_at_once=MOST_COPIES,
    at_source=True,
)
SHARE = Effect(
    name="share_snapshot",
    operation="ec2:ModifySnapshotAttribute",
    permissions=_SHARING,
    start=_start_share,
    undo=unshare,
    undo_permissions=_SHARING,
    temporary=True,
    at_source=True,
)
EXPIRE = Effect(
    name="expire",
    operation="ec2:CreateTags",
    permissions=("ec2:CreateTags",),
    start=_expire,
)
