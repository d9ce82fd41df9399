"""Snapshots that Windows itself has made while its applications stood still (VSS).

The agent makes them when a document of Systems Manager tells it to, of all volumes, with our marks.
They are then taken for the instance's snapshots. Where there are none, ordinary ones are made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _commands, _ebs_snapshots, _ec2
from cpm.resources.contract import Ask, Effect, Json, Once, Order, Refs

COMMAND, MADE = "vss", "vss_snapshots"
_DOCUMENT = "AWSEC2-CreateVssSnapshot"
# AWS gives this tag to those that are what they should be.
_IS_CONSISTENT = "AppConsistent"
_COMMAND_SECONDS = 1800
_LISTED_SECONDS = 300


def instead_of(copies: Sequence[Order], instance_id: str) -> Iterator[Order]:
    """The orders of an instance's snapshots, which are made by VSS if that is possible."""
    (snapshots,) = (copy for copy in copies if copy.parts)
    exclude_root = snapshots.spec["exclude_root"]
    command: Json = {"instance_id": instance_id, "exclude_root": exclude_root}
    yield Order("vss_command", command, step=COMMAND, within_seconds=_COMMAND_SECONDS)
    volume_ids = [part.resource_id for part in snapshots.parts]
    made = Order("vss_snapshots", {"volume_ids": volume_ids}, step=MADE, after=COMMAND)
    yield replace(made, within_seconds=_LISTED_SECONDS)
    yield replace(snapshots, after=MADE, once=Once.OVER)
    yield from (copy for copy in copies if not copy.parts)
    rest = {"kept": snapshots.step}
    yield Order("drop_vss_rest", rest, step="vss_rest", after=snapshots.step, once=Once.OVER)


def _command(aws: Aws, ask: Ask) -> Refs:
    given = ";".join(f"Key={key},Value={value}" for key, value in ask.marks.items())
    parameters = {
        "ExcludeBootVolume": [str(ask.spec["exclude_root"])],
        "description": [_ebs_snapshots.description(ask.marks, ask.spec["instance_id"])],
        "tags": [given],
    }
    return _commands.send(aws, ask, _DOCUMENT, parameters)


def _made(aws: Aws, ask: Ask) -> Refs:
    """Those that VSS has made, by volume. Raises Fault as long as one is missing."""
    good = _ec2.filter_by("tag-key", _IS_CONSISTENT)
    found = {each["VolumeId"]: each["SnapshotId"] for each in _with_token(aws, ask, good)}
    missing = [each for each in ask.spec["volume_ids"] if each not in found]
    if missing:
        message = f"VSS has made no snapshot of {', '.join(missing)}"
        raise Fault(FaultKind.TRANSIENT, message, operation="ec2:DescribeSnapshots")
    return {volume_id: found[volume_id] for volume_id in ask.spec["volume_ids"]}


def _drop_rest(aws: Aws, ask: Ask) -> Refs:
    """Delete what VSS has made and nobody wants: volumes left out, and what is not consistent."""
    wanted = set(ask.earlier[ask.spec["kept"]].values())
    for snapshot in list(_with_token(aws, ask)):
        if snapshot["SnapshotId"] not in wanted:
            _ebs_snapshots.delete_snapshot(aws, snapshot["SnapshotId"])
    return {}


def _with_token(aws: Aws, ask: Ask, *filters: Json) -> Iterator[Json]:
    by_token = _ec2.filter_by(f"tag:{tags.TOKEN}", ask.tokens[COMMAND])
    return _ebs_snapshots.own(aws, by_token, *filters)


EFFECTS = (
    Effect(
        name="vss_command",
        operation="ssm:SendCommand",
        permissions=_commands.PERMISSIONS,
        start=_command,
        find=_commands.find,
        watch=_commands.WATCH.name,
        for_consistency=True,
    ),
    Effect(
        name="vss_snapshots",
        operation="ec2:DescribeSnapshots",
        permissions=("ec2:DescribeSnapshots",),
        start=_made,
        for_consistency=True,
    ),
    Effect(
        name="drop_vss_rest",
        operation="ec2:DeleteSnapshot",
        permissions=("ec2:DescribeSnapshots", "ec2:DeleteSnapshot"),
        start=_drop_rest,
        tidies_up=True,
        at_source=True,
    ),
)
