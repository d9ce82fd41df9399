"""EBS snapshots that are made of blocks which lie outside of AWS's snapshots.

They are started here and sealed here; whoever has the blocks puts them in between. Such a snapshot
is pending until it is sealed, and nothing can be made of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cpm.archive import target
from cpm.archive.target import Totals
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ebs_snapshots, _ec2, _kms, _snapshot_copies, _volumes
from cpm.resources.contract import Ask, Effect, OptionRefused, Order, Refs, Restore
from cpm.resources.copied import Copied, Use

# What a started snapshot is called among refs.
SNAPSHOT = "snapshot"
# What may be asked of one that is not a means to anything else.
OPTIONS = ("additional_tags", "encrypted", "kms_key", "preserve_tags", "size_gib")
READ_PERMISSIONS = ("ec2:GetEbsEncryptionByDefault", *_kms.READ_PERMISSIONS)

_NOT_THERE = (FaultKind.MISSING, FaultKind.INVALID, FaultKind.DENIED)
# What AWS may say to somebody who seals a snapshot that is sealed.
_NOT_AGAIN = (FaultKind.INVALID, FaultKind.LOCKED)


@dataclass(frozen=True, slots=True)
class Wish:
    """One copy that is to be a snapshot, and what was asked of that; None where nothing was."""

    copy: Copied
    use: Use
    size_gib: int | None = None
    encrypted: bool | None = None
    kms_key: str | None = None
    # Beside the server's own.
    tags: Mapping[str, str] | None = None
    field_prefix: str = ""


def plan(aws: Aws, wishes: Iterable[Wish], *, is_elsewhere: bool) -> list[Restore]:
    """What starts the snapshots of some copies in one place; raises OptionRefused and Fault."""
    by_default = aws.call("ec2", "GetEbsEncryptionByDefault")["EbsEncryptionByDefault"]
    return [
        _planned(wish, _Encryption(aws, wish, is_elsewhere=is_elsewhere, by_default=by_default))
        for wish in wishes
    ]


def completion(snapshot_id: str, totals: Totals) -> Order:
    """What seals a snapshot into which everything has been put."""
    spec = {"snapshot_id": snapshot_id, "blocks": totals.blocks, "checksum": totals.checksum}
    return Order(COMPLETE.name, spec)


class _Encryption:
    """How a snapshot is encrypted: as was asked, as the original was, or as the account wants."""

    def __init__(self, aws: Aws, wish: Wish, *, is_elsewhere: bool, by_default: bool) -> None:
        self._aws = aws
        self._wish = wish
        self.notes: list[str] = []
        was_encrypted = bool(wish.copy.facts.get("encrypted"))
        if wish.encrypted is False:
            self._refuse_to_be_plain(by_default=by_default)
        wanted = wish.encrypted or wish.kms_key or (was_encrypted and wish.encrypted is None)
        self.is_on = bool(wanted or by_default)
        # Without one it is the account's key for EBS.
        self.key_arn = ""
        if wish.kms_key:
            self.key_arn = self._asked(wish.kms_key)
        elif self.is_on and was_encrypted and not is_elsewhere:
            self.key_arn = self._original(wish.copy.facts.get("kms_key_id") or "")

    def _refuse_to_be_plain(self, *, by_default: bool) -> None:
        if self._wish.kms_key:
            text = "a key is of use to an encrypted snapshot only"
            raise OptionRefused(self._field("kms_key"), "invalid", text)
        if by_default:
            text = f"the account encrypts everything in {self._aws.region}"
            raise OptionRefused(self._field("encrypted"), "invalid", text)

    def _asked(self, key: str) -> str:
        try:
            arn = _kms.usable(self._aws, key)
        except Fault as fault:
            if fault.kind not in _NOT_THERE:
                raise
            text = f"{self._aws.region} has no key {key} for this account ({fault})"
            raise OptionRefused(self._field("kms_key"), "does_not_exist", text) from None
        if not arn:
            text = f"key {key} is not enabled"
            raise OptionRefused(self._field("kms_key"), "invalid", text)
        return arn

    def _original(self, key: str) -> str:
        try:
            arn = _kms.usable(self._aws, key) if key else ""
        except Fault as fault:
            if fault.kind not in _NOT_THERE:
                raise
            arn = ""
        if not arn:
            self.notes.append(f"encrypted under the account's key, as {key} cannot be used")
        return arn

    def _field(self, name: str) -> str:
        return self._wish.field_prefix + name


def _planned(wish: Wish, encryption: _Encryption) -> Restore:
    copy, size_gib = wish.copy, _size(wish)
    spec = {
        "resource_id": copy.resource_id,
        "size_gib": size_gib,
        "encrypted": encryption.is_on,
        "kms_key_arn": encryption.key_arn,
        "tags": dict(wish.tags or {}),
        "from": copy.aws_ref,
        "is_means": wish.use is Use.MEANS,
    }
    effect = MEANS if wish.use is Use.MEANS else RESTORE
    to_come = replace(copy, size_gib=size_gib, is_to_come=True, is_encrypted=encryption.is_on)
    return Restore(Order(effect.name, spec, notes=encryption.notes), to_come)


def _size(wish: Wish) -> int:
    least = wish.copy.size_gib or 0
    if wish.size_gib is not None and wish.size_gib < least:
        text = f"the copy needs {least} GiB at least"
        raise OptionRefused(wish.field_prefix + "size_gib", "min_value", text)
    return wish.size_gib or least


def _start(aws: Aws, ask: Ask) -> Refs:
    spec = ask.spec
    wanted = target.Wanted(
        token=ask.token,
        volume_gib=spec["size_gib"],
        description=_description(ask),
        # There is room for the mark of those that may not be deleted.
        tags=_snapshot_copies.carried(ask),
        is_encrypted=spec["encrypted"],
        kms_key_arn=spec["kms_key_arn"] or None,
    )
    return {SNAPSHOT: target.start(aws, wanted)}


def _description(ask: Ask) -> str:
    resource_id, source = ask.spec["resource_id"], f"{ask.spec['from']} in S3"
    if ask.spec["is_means"]:
        return _ebs_snapshots.description(ask.marks, f"{resource_id} to recover from {source}")
    return _ebs_snapshots.description_of_recovered(ask.marks, resource_id, source)


def _find(aws: Aws, ask: Ask) -> Refs | None:
    found = _ebs_snapshots.with_token(aws, ask)
    return {SNAPSHOT: found[0]["SnapshotId"]} if found else None


def _complete(aws: Aws, ask: Ask) -> Refs:
    spec = ask.spec
    try:
        target.complete(aws, spec["snapshot_id"], Totals(spec["blocks"], spec["checksum"]))
    except Fault as fault:
        if fault.kind not in _NOT_AGAIN or not _may_be_sealed(aws, ask):
            raise
    return {SNAPSHOT: spec["snapshot_id"]}


def _may_be_sealed(aws: Aws, ask: Ask) -> bool:
    """Whether AWS refuses to seal it because it has done so: it does not say.

    One that is pending still may be as well; then the watch tells, as AWS gives up what is not.
    """
    state = _state(aws, ask)
    return state == "completed" or (state == "pending" and ask.is_repeated)


def _find_completed(aws: Aws, ask: Ask) -> Refs | None:
    return {SNAPSHOT: ask.spec["snapshot_id"]} if _state(aws, ask) == "completed" else None


def _state(aws: Aws, ask: Ask) -> str:
    found = _ec2.one(aws, _ec2.SNAPSHOTS, ask.spec["snapshot_id"])
    return str(found["State"]) if found else ""


def _delete(aws: Aws, refs: Refs) -> None:
    _ebs_snapshots.delete_snapshot(aws, refs[SNAPSHOT])


def _expire(aws: Aws, refs: Refs, expired_at: str) -> None:
    _snapshot_copies.mark_expired(aws, refs.values(), expired_at)


RESTORE = Effect(
    name="restore_snapshot",
    operation="ebs:StartSnapshot",
    permissions=(
        *("ebs:StartSnapshot", "ec2:CreateTags", "ec2:DescribeSnapshots", "kms:GenerateDataKey"),
        *_volumes.USE_OF_KEYS,
    ),
    start=_start,
    find=_find,
    undo=_delete,
    undo_permissions=("ec2:DeleteSnapshot",),
    expire=_expire,
    expire_permissions=("ec2:CreateTags",),
    makes_result=True,
)
MEANS = replace(RESTORE, name="restore_snapshot_for_now", makes_result=False, temporary=True)
COMPLETE = Effect(
    name="complete_snapshot",
    operation="ebs:CompleteSnapshot",
    permissions=("ebs:CompleteSnapshot", "ec2:DescribeSnapshots"),
    start=_complete,
    find=_find_completed,
    watch=_ebs_snapshots.WATCH.name,
)
EFFECTS = (RESTORE, MEANS, COMPLETE)
