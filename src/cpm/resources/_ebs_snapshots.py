"""EBS snapshots, whoever makes them: found again by token, watched in bulk, deleted."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ec2, _volumes
from cpm.resources.contract import Ask, Effect, Json, Order, Owned, Refs, State, Verdict, Watch

_LONGEST_DESCRIPTION = 255
# What AWS says of a copy's volume means nothing.
_COPY = re.compile(r"^CPM policy \S*: copy of (\S+) from ")
# What somebody has recovered is his, and no record's.
_RECOVERED = re.compile(r"^CPM policy \S*: \S+ recovered from ")
# How EC2 describes the snapshots that it makes for an AMI, which go with that AMI.
PARTS_OF_IMAGES = ("Created by CreateImage(", "Copied for DestinationAmi ")

_STATES = {
    "pending": State.PENDING,
    "recovering": State.PENDING,
    "completed": State.DONE,
    "error": State.FAILED,
    "recoverable": State.GONE,
}


def description(marks: Mapping[str, str], what: str) -> str:
    """What AWS shows of a snapshot: the policy that wanted it and `what` it is of."""
    policy = marks.get(tags.POLICY_NAME, "")
    return f"CPM policy {policy}: {what}"[:_LONGEST_DESCRIPTION]


def single(volume: Json) -> Order:
    """The order of one snapshot of one volume, by its facts."""
    names = ("volume_id", "instance_id", "device", "tags")
    return Order(SINGLE.name, {name: volume[name] for name in names}, (_volumes.part(volume),))


def description_of_copy(marks: Mapping[str, str], resource_id: str, region: str) -> str:
    """What AWS shows of a copy elsewhere, by which an inventory knows it."""
    return description(marks, f"copy of {resource_id} from {region}")


def description_of_recovered(marks: Mapping[str, str], resource_id: str, source: str) -> str:
    """What AWS shows of a snapshot that is itself what was to be recovered."""
    return description(marks, f"{resource_id} recovered from {source}")


def copied_from(described: Json) -> str:
    """The volume or instance of which this is a copy elsewhere; empty when it is none."""
    found = _COPY.match(described.get("Description", ""))
    return found[1] if found else ""


def find(aws: Aws, ask: Ask) -> Refs | None:
    """The snapshots that carry the token, by volume."""
    made = with_token(aws, ask)
    return {snapshot["VolumeId"]: snapshot["SnapshotId"] for snapshot in made} or None


def with_token(aws: Aws, ask: Ask) -> list[Json]:
    """The account's own snapshots that carry the token."""
    return list(own(aws, _ec2.filter_by(f"tag:{tags.TOKEN}", ask.token)))


def own(aws: Aws, *filters: Json) -> Iterator[Json]:
    """The account's own snapshots that the filters let through, page by page."""
    return _ec2.everything(aws, _ec2.SNAPSHOTS, *filters, OwnerIds=["self"])


def inventory(aws: Aws, server_id: str) -> Iterator[Owned]:
    """The snapshots that a server has made, but for parts of AMIs and what was recovered."""
    for snapshot in own(aws, _ec2.filter_by(f"tag:{tags.SERVER_ID}", server_id)):
        text = snapshot.get("Description", "")
        if not text.startswith(PARTS_OF_IMAGES) and not _RECOVERED.match(text):
            verdict = _verdict(snapshot)
            copied = copied_from(snapshot)
            yield Owned(
                _volumes.COPIES if copied else _volumes.COLLECTION,
                snapshot["SnapshotId"],
                copied or snapshot["VolumeId"],
                _ec2.tags_of(snapshot),
                verdict.state,
                verdict.facts,
            )


def delete_snapshot(aws: Aws, snapshot_id: str) -> None:
    """Delete a snapshot; one that is gone already is fine."""
    try:
        aws.call("ec2", "DeleteSnapshot", SnapshotId=snapshot_id)
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise


def _poll(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    found = {each["SnapshotId"]: each for each in _ec2.by_ids(aws, _ec2.SNAPSHOTS, refs)}
    return {ref: _verdict(found.get(ref)) for ref in refs}


def _verdict(snapshot: Json | None) -> Verdict:
    if snapshot is None:
        return Verdict(State.GONE)
    state = _STATES.get(snapshot["State"], State.UNKNOWN)
    facts = _facts(snapshot) if state is State.DONE else {}
    percent = 100 if state is State.DONE else _percent(snapshot.get("Progress", ""))
    return Verdict(state, percent, snapshot.get("StateMessage", ""), facts)


def _facts(snapshot: Json) -> Json:
    finished_at: datetime | None = snapshot.get("CompletionTime")
    return {
        "size_gib": snapshot["VolumeSize"],
        "encrypted": snapshot.get("Encrypted", False),
        **({"kms_key_id": snapshot["KmsKeyId"]} if snapshot.get("KmsKeyId") else {}),
        **({"finished_at": finished_at.isoformat()} if finished_at else {}),
    }


def _percent(progress: str) -> int:
    digits = progress.rstrip("%")
    return int(digits) if digits.isdigit() else 0


def _start_single(aws: Aws, ask: Ask) -> Refs:
    volume_id = ask.spec["volume_id"]
    place = f" ({ask.spec['instance_id']} {ask.spec['device']})" if ask.spec["device"] else ""
    made = aws.call(
        "ec2",
        "CreateSnapshot",
        VolumeId=volume_id,
        Description=description(ask.marks, f"{volume_id}{place}"),
        TagSpecifications=[
            tags.specification("snapshot", tags.merged(ask.marks, ask.spec["tags"]))
        ],
    )
    return {volume_id: made["SnapshotId"]}


def _start_deletion(aws: Aws, ask: Ask) -> Refs:
    delete_snapshot(aws, ask.spec["aws_ref"])
    return {}


WATCH = Watch(
    name="ebs_snapshot",
    permissions=("ec2:DescribeSnapshots",),
    poll=_poll,
    batch=_ec2.SNAPSHOTS.per_call,
)

SINGLE = Effect(
    name="snapshot",
    operation="ec2:CreateSnapshot",
    permissions=("ec2:CreateSnapshot", "ec2:CreateTags", "ec2:DescribeSnapshots"),
    start=_start_single,
    find=find,
    watch=WATCH.name,
    at_source=True,
)

DELETE = Effect(
    name="delete",
    operation="ec2:DeleteSnapshot",
    permissions=("ec2:DeleteSnapshot",),
    start=_start_deletion,
)
