"""EBS volumes as facts, and the effects that make, attach, detach and delete them.

An attachment is referred to as `volume instance device`, so that a watch can answer for it and an
undo knows where to put a volume back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ec2
from cpm.resources.contract import Ask, Effect, Json, Part, Refs, Resource, State, Verdict, Watch

# The type and the collection of every EBS snapshot, also of those made with their instance.
KIND = "ebs_volume"
COLLECTION = "volumes"
# The collection of their copies in other regions and accounts.
COPIES = "dr_volumes"
# That of their copies in S3.
ARCHIVED = "copy_to_s3"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A volume at a device of an instance."""

    volume_id: str
    instance_id: str
    device: str

    @classmethod
    def of(cls, ref: str) -> "Attachment":
        """The attachment that `ref` names."""
        return cls(*ref.split(" ", 2))

    @property
    def ref(self) -> str:
        """Its name among refs."""
        return f"{self.volume_id} {self.instance_id} {self.device}"


def facts(volume: Json) -> Json:
    """What is needed to make a volume like this one, as JSON."""
    attached = attachment(volume)
    return {
        "volume_id": volume["VolumeId"],
        "volume_type": volume["VolumeType"],
        "size_gib": volume["Size"],
        "iops": volume.get("Iops"),
        "throughput": volume.get("Throughput"),
        "encrypted": volume.get("Encrypted", False),
        "kms_key_id": volume.get("KmsKeyId"),
        "availability_zone": volume["AvailabilityZone"],
        "multi_attach": volume.get("MultiAttachEnabled", False),
        "instance_id": attached.get("InstanceId"),
        "device": attached.get("Device"),
        "delete_on_termination": attached.get("DeleteOnTermination", False),
        "tags": _ec2.tags_of(volume),
    }


_WORDS = {
    "volume_type": "VolumeType",
    "iops": "Iops",
    "throughput": "Throughput",
    "encrypted": "Encrypted",
    "kms_key_id": "KmsKeyId",
    "availability_zone": "AvailabilityZone",
    "multi_attach": "MultiAttachEnabled",
}


def in_aws_words(facts: Json) -> Json:
    """What `DescribeVolumes` said of the volume, as far as it makes another like it."""
    return _ec2.in_words(facts, _WORDS)


def resource(volume: Json, region: str) -> Resource:
    """A volume as EC2 describes it."""
    volume_tags = _ec2.tags_of(volume)
    return Resource(
        kind=KIND,
        resource_id=volume["VolumeId"],
        region=region,
        name=_ec2.name_of(volume_tags),
        size_gib=volume["Size"],
        part_of=attachment(volume).get("InstanceId"),
        tags=volume_tags,
        facts=facts(volume),
    )


def part(volume: Json) -> Part:
    """The snapshot that will be made of a volume, alone or with its instance, by its facts."""
    return Part(
        kind=KIND,
        collection=COLLECTION,
        resource_id=volume["volume_id"],
        resource_name=_ec2.name_of(volume["tags"]),
        instance_id=volume["instance_id"],
        device=volume["device"],
        size_gib=volume["size_gib"],
        encrypted=volume["encrypted"],
        facts=volume,
    )


def attachment(volume: Json, instance_id: str = "") -> Json:
    """The volume's attachment, to this instance if it says so, as AWS lists it; empty if none."""
    for each in volume.get("Attachments", ()):
        is_meant = not instance_id or each.get("InstanceId") == instance_id
        if is_meant and each.get("State") in ("attaching", "attached", "busy"):
            attached: Json = each
            return attached
    return {}


def _create(aws: Aws, ask: Ask) -> Refs:
    made = aws.call(
        "ec2",
        "CreateVolume",
        ClientToken=ask.token,
        TagSpecifications=[tags.specification("volume", tags.merged(ask.marks, ask.spec["tags"]))],
        **ask.spec["parameters"],
    )
    return {"volume": made["VolumeId"]}


def _delete_created(aws: Aws, refs: Refs) -> None:
    delete_volume(aws, refs["volume"])


def _delete(aws: Aws, ask: Ask) -> Refs:
    delete_volume(aws, _known(ask, "volume_id"))
    return {}


def delete_volume(aws: Aws, volume_id: str) -> None:
    """Delete a volume; one that is gone already is fine."""
    try:
        aws.call("ec2", "DeleteVolume", VolumeId=volume_id)
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise


def _known(ask: Ask, name: str) -> str:
    """What the spec calls so, which may be what an earlier step made: `{"step", "ref"}`."""
    value: str | Mapping[str, str] = ask.spec[name]
    return value if isinstance(value, str) else ask.earlier[value["step"]][value["ref"]]


def _wanted(ask: Ask) -> Attachment:
    return Attachment(_known(ask, "volume_id"), _known(ask, "instance_id"), ask.spec["device"])


def _attach(aws: Aws, ask: Ask) -> Refs:
    wanted = _wanted(ask)
    _call_attachment(aws, "AttachVolume", wanted)
    return {"attachment": wanted.ref}


def _detach(aws: Aws, ask: Ask) -> Refs:
    wanted = _wanted(ask)
    _require_stopped(aws, wanted.instance_id)
    _call_attachment(aws, "DetachVolume", wanted)
    return {"attachment": wanted.ref}


def _require_stopped(aws: Aws, instance_id: str) -> None:
    """What a running system has mounted would be torn out of it, which AWS does not prevent."""
    for instance in _ec2.instances(aws, [instance_id]):
        state = instance["State"]["Name"]
        if state != "stopped":
            text = f"instance {instance_id} is {state} and must be stopped to lose a volume"
            raise Fault(FaultKind.LOCKED, text)


def _call_attachment(aws: Aws, operation: str, wanted: Attachment) -> None:
    aws.call(
        "ec2",
        operation,
        VolumeId=wanted.volume_id,
        InstanceId=wanted.instance_id,
        Device=wanted.device,
    )


def _find_attached(aws: Aws, ask: Ask) -> Refs | None:
    wanted = _wanted(ask)
    return {"attachment": wanted.ref} if _is_attached(aws, wanted) else None


def _find_detached(aws: Aws, ask: Ask) -> Refs | None:
    wanted = _wanted(ask)
    return None if _is_attached(aws, wanted) else {"attachment": wanted.ref}


def _is_attached(aws: Aws, wanted: Attachment) -> bool:
    volume = _ec2.one(aws, _ec2.VOLUMES, wanted.volume_id)
    return volume is not None and bool(attachment(volume, wanted.instance_id))


def _undo_attach(aws: Aws, refs: Refs) -> None:
    attached = Attachment.of(refs["attachment"])
    if _is_attached(aws, attached):
        _call_attachment(aws, "DetachVolume", attached)


def _undo_detach(aws: Aws, refs: Refs) -> None:
    detached = Attachment.of(refs["attachment"])
    if not _is_attached(aws, detached):
        _call_attachment(aws, "AttachVolume", detached)


def _volume_verdict(volume: Json) -> Verdict:
    match volume["State"]:
        case "available" | "in-use":
            return Verdict(State.DONE, 100, facts={"size_gib": volume["Size"]})
        case "creating":
            return Verdict(State.PENDING)
        case "error":
            return Verdict(State.FAILED, reason="AWS could not make the volume")
        case "deleting" | "deleted":
            return Verdict(State.GONE)
    return Verdict(State.UNKNOWN)


def _attached_verdict(volume: Json, instance_id: str) -> Verdict:
    match attachment(volume, instance_id).get("State"):
        case "attached":
            return Verdict(State.DONE, 100)
        case "attaching" | "busy":
            return Verdict(State.PENDING, 50)
    return Verdict(State.GONE, reason="the volume is not attached")


def _detached_verdict(volume: Json, instance_id: str) -> Verdict:
    # Others may go on having a volume that several instances share.
    attachments = volume.get("Attachments", ())
    held = any(
        each.get("InstanceId") == instance_id and each.get("State") != "detached"
        for each in attachments
    )
    return Verdict(State.PENDING) if held else Verdict(State.DONE, 100)


def _poll_volumes(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    found = {each["VolumeId"]: each for each in _ec2.by_ids(aws, _ec2.VOLUMES, refs)}
    return {
        ref: _volume_verdict(found[ref]) if ref in found else Verdict(State.GONE) for ref in refs
    }


def _poll_attached(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    return _poll_attachments(aws, refs, _attached_verdict, Verdict(State.GONE))


def _poll_detached(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    # A volume that is no more is at no device.
    return _poll_attachments(aws, refs, _detached_verdict, Verdict(State.DONE, 100))


def _poll_attachments(
    aws: Aws, refs: Sequence[str], verdict: Callable[[Json, str], Verdict], missing: Verdict
) -> Mapping[str, Verdict]:
    wanted = {ref: Attachment.of(ref) for ref in refs}
    ids = [each.volume_id for each in wanted.values()]
    found = {each["VolumeId"]: each for each in _ec2.by_ids(aws, _ec2.VOLUMES, ids)}
    return {
        ref: verdict(found[each.volume_id], each.instance_id)
        if each.volume_id in found
        else missing
        for ref, each in wanted.items()
    }


_SEE = ("ec2:DescribeVolumes",)

# What EC2 does with the caller's rights to a key, where a volume is encrypted.
USE_OF_KEYS = (
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)

CREATED = Watch("volume", _SEE, _poll_volumes, batch=_ec2.VOLUMES.per_call)
ATTACHED = Watch("volume_attached", _SEE, _poll_attached, batch=_ec2.VOLUMES.per_call)
DETACHED = Watch("volume_detached", _SEE, _poll_detached, batch=_ec2.VOLUMES.per_call)

CREATE = Effect(
    name="create_volume",
    operation="ec2:CreateVolume",
    permissions=("ec2:CreateVolume", "ec2:CreateTags", *USE_OF_KEYS),
    start=_create,
    watch=CREATED.name,
    undo=_delete_created,
    undo_permissions=("ec2:DeleteVolume",),
    makes_result=True,
)
DETACH = Effect(
    name="detach_volume",
    operation="ec2:DetachVolume",
    permissions=("ec2:DetachVolume", "ec2:DescribeInstances", *_SEE),
    start=_detach,
    find=_find_detached,
    watch=DETACHED.name,
    undo=_undo_detach,
    undo_permissions=("ec2:AttachVolume", *_SEE),
    undo_watch=ATTACHED.name,
)
ATTACH = Effect(
    name="attach_volume",
    operation="ec2:AttachVolume",
    permissions=("ec2:AttachVolume", *_SEE),
    start=_attach,
    find=_find_attached,
    watch=ATTACHED.name,
    undo=_undo_attach,
    undo_permissions=("ec2:DetachVolume", *_SEE),
    undo_watch=DETACHED.name,
)
DELETE = Effect(
    name="delete_volume",
    operation="ec2:DeleteVolume",
    permissions=("ec2:DeleteVolume",),
    start=_delete,
    tidies_up=True,
)
