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


def resource(volume: Json, region: str) -> Resource:
    """A volume as EC2 describes it."""
    volume_tags = _ec2.tags_of(volume)
    return Resource(
        kind=KIND,
        resource_id=volume["VolumeId"],
        region=region,
        name=_ec2.name_of(volume_tags),
        size_gib=volume["Size"],
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


def attachment(volume: Json) -> Json:
    """The first attachment of a volume as AWS lists it, empty when there is none."""
    for each in volume.get("Attachments", ()):
        if each.get("State") in ("attaching", "attached", "busy"):
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
    _delete_volume(aws, refs["volume"])


def _delete(aws: Aws, ask: Ask) -> Refs:
    _delete_volume(aws, ask.spec["volume_id"])
    return {}


def _delete_volume(aws: Aws, volume_id: str) -> None:
    try:
        aws.call("ec2", "DeleteVolume", VolumeId=volume_id)
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise


def _to_attach(ask: Ask) -> Attachment:
    volume_id = ask.earlier["create"]["volume"]
    return Attachment(volume_id, ask.spec["instance_id"], ask.spec["device"])


def _to_detach(ask: Ask) -> Attachment:
    return Attachment(ask.spec["volume_id"], ask.spec["instance_id"], ask.spec["device"])


def _attach(aws: Aws, ask: Ask) -> Refs:
    wanted = _to_attach(ask)
    _call_attachment(aws, "AttachVolume", wanted)
    return {"attachment": wanted.ref}


def _detach(aws: Aws, ask: Ask) -> Refs:
    wanted = _to_detach(ask)
    _call_attachment(aws, "DetachVolume", wanted)
    return {"attachment": wanted.ref}


def _call_attachment(aws: Aws, operation: str, wanted: Attachment) -> None:
    aws.call(
        "ec2",
        operation,
        VolumeId=wanted.volume_id,
        InstanceId=wanted.instance_id,
        Device=wanted.device,
    )


def _find_attached(aws: Aws, ask: Ask) -> Refs | None:
    wanted = _to_attach(ask)
    return {"attachment": wanted.ref} if _is_attached(aws, wanted) else None


def _find_detached(aws: Aws, ask: Ask) -> Refs | None:
    wanted = _to_detach(ask)
    return None if _is_attached(aws, wanted) else {"attachment": wanted.ref}


def _is_attached(aws: Aws, wanted: Attachment) -> bool:
    volume = _ec2.one(aws, _ec2.VOLUMES, wanted.volume_id)
    return volume is not None and attachment(volume).get("InstanceId") == wanted.instance_id


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


def _attached_verdict(volume: Json) -> Verdict:
    match attachment(volume).get("State"):
        case "attached":
            return Verdict(State.DONE, 100)
        case "attaching" | "busy":
            return Verdict(State.PENDING, 50)
    return Verdict(State.GONE, reason="the volume is not attached")


def _detached_verdict(volume: Json) -> Verdict:
    done = volume["State"] == "available"
    return Verdict(State.DONE, 100) if done else Verdict(State.PENDING)


def _poll_volumes(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    return _poll(aws, {ref: ref for ref in refs}, _volume_verdict)


def _poll_attached(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    return _poll(aws, {ref: Attachment.of(ref).volume_id for ref in refs}, _attached_verdict)


def _poll_detached(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    return _poll(aws, {ref: Attachment.of(ref).volume_id for ref in refs}, _detached_verdict)


def _poll(
    aws: Aws, volume_ids: Mapping[str, str], verdict: Callable[[Json], Verdict]
) -> Mapping[str, Verdict]:
    described = _ec2.by_ids(aws, _ec2.VOLUMES, volume_ids.values())
    found = {volume["VolumeId"]: verdict(volume) for volume in described}
    return {ref: found.get(volume_id, Verdict(State.GONE)) for ref, volume_id in volume_ids.items()}


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
    permissions=("ec2:DetachVolume", *_SEE),
    start=_detach,
    find=_find_detached,
    watch=DETACHED.name,
    undo=_undo_detach,
    undo_permissions=("ec2:AttachVolume", *_SEE),
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
)
DELETE = Effect(
    name="delete_volume",
    operation="ec2:DeleteVolume",
    permissions=("ec2:DeleteVolume",),
    start=_delete,
    tidies_up=True,
)
