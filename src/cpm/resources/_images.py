"""AMIs: made of instances or registered from snapshots, watched, and taken away again.

An AMI's name carries the token of whoever makes it. EC2 gives no two AMIs of an account the same
name, so that no call, however often it is repeated, makes a second one.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ebs_snapshots, _ec2
from cpm.resources.contract import Ask, Effect, Json, Owned, Refs, State, Verdict, Watch

# How the making of an AMI is called in a chain.
STEP = "image"
# AMIs that are a whole backup, AMIs that help to launch one of snapshots, and the copies of both in
# other regions and accounts.
ONLY_AMIS, ONLY_DR_AMIS = "only_amis", "only_dr_amis"
INITIAL_AMIS, DR_INITIAL_AMIS = "initial_amis", "dr_initial_amis"
WHOLE = (ONLY_AMIS, ONLY_DR_AMIS)
INITIAL = (INITIAL_AMIS, DR_INITIAL_AMIS)

_TAKEN = "InvalidAMIName.Duplicate"
DEREGISTERED = "InvalidAMIID.Unavailable"
_IMAGE_ID = re.compile(r"\bami-[0-9a-f]+")


def snapshots_of(image: Json) -> dict[str, str]:
    """The snapshots behind an AMI, by device."""
    return {
        mapping["DeviceName"]: mapping["Ebs"]["SnapshotId"]
        for mapping in image.get("BlockDeviceMappings", ())
        if mapping.get("Ebs", {}).get("SnapshotId")
    }


def listed(aws: Aws, ids: Iterable[str]) -> dict[str, Json]:
    """Those of the AMIs that can be seen, by id. Many an instance has outlived its own."""
    found: dict[str, Json] = {}
    for batch in _ec2.batches(sorted(filter(None, ids)), _ec2.MOST_FILTER_VALUES):
        by_id = _ec2.filter_by(_ec2.IMAGES.filter, *batch)
        found |= {each["ImageId"]: each for each in _ec2.everything(aws, _ec2.IMAGES, by_id)}
    return found


def _create(aws: Aws, ask: Ask) -> Refs:
    spec = ask.spec
    what = " ".join([spec["instance_id"], *spec["devices"]])
    carried = tags.merged(ask.marks, spec["tags"])
    left_out = [{"DeviceName": device, "NoDevice": ""} for device in spec["left_out"]]
    image_id = make(
        aws,
        ask,
        "CreateImage",
        InstanceId=spec["instance_id"],
        Description=_ebs_snapshots.description(ask.marks, what),
        NoReboot=spec["no_reboot"],
        TagSpecifications=[tags.specification(each, carried) for each in ("image", "snapshot")],
        **({"BlockDeviceMappings": left_out} if left_out else {}),
    )
    return {spec["instance_id"]: image_id}


def _find_created(aws: Aws, ask: Ask) -> Refs | None:
    image_id = named(aws, ask)
    return {ask.spec["instance_id"]: image_id} if image_id else None


def _register(aws: Aws, ask: Ask) -> Refs:
    image_id = make(
        aws,
        ask,
        "RegisterImage",
        Description="Made to launch a recovered instance; goes when it runs.",
        TagSpecifications=[tags.specification("image", ask.marks)],
        **ask.spec["parameters"],
    )
    return {"image": image_id}


def _find_registered(aws: Aws, ask: Ask) -> Refs | None:
    image_id = named(aws, ask)
    return {"image": image_id} if image_id else None


def make(aws: Aws, ask: Ask, operation: str, **parameters: Any) -> str:
    """Have AWS make an AMI whose name carries the token, or find the one that it has made."""
    try:
        made = aws.call("ec2", operation, Name=_name(ask), **parameters)
    except Fault as fault:
        if fault.code != _TAKEN:
            raise
        return _made_before(aws, ask, fault)
    image_id: str = made["ImageId"]
    return image_id


def _made_before(aws: Aws, ask: Ask, fault: Fault) -> str:
    """The AMI that has the name, made by a call whose answer nobody got."""
    image_id = named(aws, ask)
    if image_id is None:
        # It is there and not listed yet.
        raise Fault(FaultKind.TRANSIENT, fault.message, operation=fault.operation, code=fault.code)
    return image_id


def named(aws: Aws, ask: Ask) -> str | None:
    """The AMI whose name carries the token."""
    by_name = _ec2.filter_by("name", _name(ask))
    found = aws.call("ec2", "DescribeImages", Owners=["self"], Filters=[by_name])["Images"]
    return found[0]["ImageId"] if found else None


def _name(ask: Ask) -> str:
    return f"cpm-{ask.token}"


def _deregister_registered(aws: Aws, ask: Ask) -> Refs:
    _undo_register(aws, ask.earlier["image"])
    return {}


def _undo_register(aws: Aws, refs: Refs) -> None:
    _deregister(aws, refs["image"])


def _deregister(aws: Aws, image_id: str) -> None:
    try:
        aws.call("ec2", "DeregisterImage", ImageId=image_id)
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING and fault.code != DEREGISTERED:
            raise


def _delete(aws: Aws, ask: Ask) -> Refs:
    known: Mapping[str, str] = ask.spec["facts"].get("snapshots", {})
    delete_image(aws, ask.spec["aws_ref"], list(known.values()))
    return {}


def delete_image(aws: Aws, image_id: str, known: Sequence[str] = ()) -> None:
    """Deregister an AMI, then delete its snapshots; each may have been done before."""
    snapshot_ids = known or snapshots_made_for(aws, image_id)
    _deregister(aws, image_id)
    for snapshot_id in snapshot_ids:
        _ebs_snapshots.delete_snapshot(aws, snapshot_id)


def snapshots_made_for(aws: Aws, image_id: str) -> list[str]:
    """The snapshots of an AMI that we made, also when it is gone: EC2 describes them so."""
    created, copied = _ebs_snapshots.PARTS_OF_IMAGES
    descriptions = (f"{created}*) for {image_id}*", f"{copied}{image_id} *")
    described = _ec2.filter_by("description", *descriptions)
    ours = _ec2.filter_by("tag-key", tags.TOKEN)
    return [snapshot["SnapshotId"] for snapshot in _ebs_snapshots.own(aws, described, ours)]


def inventory(aws: Aws, server_id: str) -> Iterator[Owned]:
    """The AMIs that a server has made, and snapshots that are left of AMIs that are gone."""
    ours = _ec2.filter_by(f"tag:{tags.SERVER_ID}", server_id)
    listed = set()
    for image in _ec2.everything(aws, _ec2.IMAGES, ours, Owners=["self"]):
        verdict = _verdict(image)
        if verdict.state is not State.GONE:
            listed.add(image["ImageId"])
            copied = _ebs_snapshots.copied_from(image)
            yield Owned(
                ONLY_DR_AMIS if copied else ONLY_AMIS,
                image["ImageId"],
                copied or image.get("SourceInstanceId", ""),
                _ec2.tags_of(image),
                verdict.state,
                verdict.facts,
            )
    yield from _left_over(aws, ours, listed)


def _left_over(aws: Aws, ours: Json, listed: Container[str]) -> Iterator[Owned]:
    """Snapshots of AMIs that are not listed."""
    starts = [f"{start}*" for start in _ebs_snapshots.PARTS_OF_IMAGES]
    for snapshot in _ebs_snapshots.own(aws, ours, _ec2.filter_by("description", *starts)):
        named = _IMAGE_ID.search(snapshot["Description"])
        if named and named.group() not in listed:
            yield Owned(
                ONLY_AMIS,
                snapshot["SnapshotId"],
                "",
                _ec2.tags_of(snapshot),
                State.UNKNOWN,
                part_of=named.group(),
            )


def _poll(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    found = {image["ImageId"]: image for image in _ec2.by_ids(aws, _ec2.IMAGES, refs)}
    return {ref: _verdict(found.get(ref)) for ref in refs}


def _verdict(image: Json | None) -> Verdict:
    if image is None:
        return Verdict(State.GONE)
    match image["State"]:
        case "available":
            return Verdict(State.DONE, 100, facts=_facts(image))
        case "pending" | "transient":
            return Verdict(State.PENDING)
        case "deregistered":
            return Verdict(State.GONE)
    return Verdict(State.FAILED, reason=image.get("StateReason", {}).get("Message", ""))


def _facts(image: Json) -> Json:
    devices = [each["Ebs"] for each in image.get("BlockDeviceMappings", ()) if "Ebs" in each]
    return {
        "snapshots": snapshots_of(image),
        "size_gib": sum(device.get("VolumeSize", 0) for device in devices),
        "encrypted": all(device.get("Encrypted", False) for device in devices),
    }


WATCH = Watch("image", ("ec2:DescribeImages",), _poll, batch=_ec2.IMAGES.per_call)

CREATE = Effect(
    name="create_image",
    operation="ec2:CreateImage",
    permissions=("ec2:CreateImage", "ec2:CreateTags", "ec2:DescribeImages"),
    start=_create,
    find=_find_created,
    watch=WATCH.name,
    at_source=True,
)
DELETE = Effect(
    name="delete",
    operation="ec2:DeregisterImage",
    permissions=("ec2:DeregisterImage", "ec2:DeleteSnapshot", "ec2:DescribeSnapshots"),
    start=_delete,
)
REGISTER = Effect(
    name="register_image",
    operation="ec2:RegisterImage",
    permissions=("ec2:RegisterImage", "ec2:CreateTags", "ec2:DescribeImages"),
    start=_register,
    find=_find_registered,
    watch=WATCH.name,
    undo=_undo_register,
    undo_permissions=("ec2:DeregisterImage",),
)
DEREGISTER = Effect(
    name="deregister_image",
    operation="ec2:DeregisterImage",
    permissions=("ec2:DeregisterImage",),
    start=_deregister_registered,
    tidies_up=True,
)
