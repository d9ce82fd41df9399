"""DynamoDB's backups: named by server, backup, token and policy, as they cannot be tagged.

AWS gives a backup any name, and several of them the same: one is found again among the backups of
its table, and the server's among those of the region, by their names alone.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _dynamodb
from cpm.resources.contract import (
    Ask,
    Effect,
    Json,
    Order,
    Owned,
    Part,
    Refs,
    Resource,
    State,
    Verdict,
    Watch,
)

_PREFIX = "cpm"
_MARKS = (tags.SERVER_ID, tags.BACKUP_ID, tags.TOKEN, tags.POLICY_NAME)
_LONGEST_NAME = 255
_PER_PAGE = 100
_MOST_DAYS = 35
# AWS's clock that names a backup and the one that lists it may differ by less.
_MARGIN = timedelta(minutes=1)
_OFF_LIMITS = (FaultKind.MISSING, FaultKind.DENIED)

_STATES = {
    "CREATING": State.PENDING,
    "ACTIVE": State.DONE,
    "AVAILABLE": State.DONE,
    "DELETED": State.GONE,
}


def order(table: Resource) -> Order:
    """The order of one backup of a table."""
    part = Part(
        kind=_dynamodb.KIND,
        collection=_dynamodb.COLLECTION,
        resource_id=table.resource_id,
        resource_name=table.name,
        size_gib=table.size_gib,
        # DynamoDB encrypts everything.
        encrypted=True,
        facts=table.facts,
    )
    return Order(CREATE.name, {"table": table.resource_id}, (part,), step="backup")


def name_with(marks: Mapping[str, str]) -> str:
    """The name of a backup from which its marks can be read."""
    words = (re.sub(r"[^a-zA-Z0-9_-]", "-", marks.get(mark, "")) for mark in _MARKS)
    return ".".join((_PREFIX, *words))[:_LONGEST_NAME]


def marks_in(name: str) -> dict[str, str]:
    """The marks that a name holds; none when it is none of ours."""
    prefix, *words = name.split(".")
    if prefix != _PREFIX or len(words) != len(_MARKS):
        return {}
    return dict(zip(_MARKS, words, strict=True))


def owned(aws: Aws, server_id: str) -> Iterator[Owned]:
    """The backups of the region that a server has made."""
    for backup in _listed(aws):
        marks = marks_in(backup["BackupName"])
        if marks.get(tags.SERVER_ID) == server_id:
            yield Owned(
                collection=_dynamodb.COLLECTION,
                aws_ref=backup["BackupArn"],
                resource_id=backup["TableName"],
                marks=marks,
                state=_state(backup),
                facts=_size(backup),
            )


def described(aws: Aws, arn: str) -> Json | None:
    """A backup and its table as it was, None when there is none."""
    try:
        found: Json = aws.call("dynamodb", "DescribeBackup", BackupArn=arn)["BackupDescription"]
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise
        return None
    return found


def is_complete(backup: Json) -> bool:
    """Whether a described backup can be restored."""
    return _state(backup["BackupDetails"]) is State.DONE


def _create(aws: Aws, ask: Ask) -> Refs:
    table = ask.spec["table"]
    made = aws.call("dynamodb", "CreateBackup", TableName=table, BackupName=name_with(ask.marks))
    return {table: made["BackupDetails"]["BackupArn"]}


def _find(aws: Aws, ask: Ask) -> Refs | None:
    table, name = ask.spec["table"], name_with(ask.marks)
    for backup in _listed(aws, TableName=table):
        if backup["BackupName"] == name:
            return {table: backup["BackupArn"]}
    return None


def _delete(aws: Aws, ask: Ask) -> Refs:
    try:
        aws.call("dynamodb", "DeleteBackup", BackupArn=ask.spec["aws_ref"])
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise
    return {}


def _listed(aws: Aws, **chosen: object) -> Iterator[Json]:
    """Backups that were asked for, unlike those that AWS makes of deleted tables."""
    return aws.pages(
        "dynamodb", "ListBackups", "BackupSummaries", BackupType="USER", Limit=_PER_PAGE, **chosen
    )


def _poll(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    """What became of backups.

    A list of the time in which they were begun tells in a call for a hundred which of them are in
    the making. The others are looked at once more, one by one: what a restore leaves out is told
    nowhere else, and that a list lacks one does not say that it is gone.
    """
    pending = _in_the_making(aws, refs) if len(refs) > 1 else frozenset()
    return {ref: Verdict(State.PENDING) if ref in pending else _look(aws, ref) for ref in refs}


def _in_the_making(aws: Aws, refs: Sequence[str]) -> frozenset[str]:
    begun = [moment for moment in map(_begun_at, refs) if moment]
    if not begun:
        return frozenset()
    listed = _listed(
        aws, TimeRangeLowerBound=min(begun) - _MARGIN, TimeRangeUpperBound=max(begun) + _MARGIN
    )
    return frozenset(each["BackupArn"] for each in listed if _state(each) is State.PENDING)


def _begun_at(arn: str) -> datetime | None:
    """When a backup was asked for: `.../backup/01489602797149-73d8d5bc`, in milliseconds."""
    milliseconds = arn.rsplit("/", maxsplit=1)[-1].partition("-")[0]
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if milliseconds.isdigit() else None


def _look(aws: Aws, arn: str) -> Verdict:
    backup = described(aws, arn)
    if backup is None:
        return Verdict(State.GONE)
    state = _state(backup["BackupDetails"])
    return Verdict(state, 100, facts=_facts(aws, backup)) if is_complete(backup) else Verdict(state)


def _state(details: Json) -> State:
    return _STATES.get(details["BackupStatus"], State.UNKNOWN)


def _facts(aws: Aws, backup: Json) -> Json:
    features = backup.get("SourceTableFeatureDetails", {})
    stream = features.get("StreamDescription") or {}
    expiry = features.get("TimeToLiveDescription") or {}
    expires = expiry.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    return {
        **_size(backup["BackupDetails"]),
        "stream_view_type": stream.get("StreamViewType") if stream.get("StreamEnabled") else None,
        "time_to_live_attribute": expiry.get("AttributeName") if expires else None,
        "point_in_time_days": _point_in_time_days(aws, backup),
    }


def _size(details: Json) -> Json:
    return {"size_gib": _dynamodb.gib(details.get("BackupSizeBytes") or 0), "encrypted": True}


def _point_in_time_days(aws: Aws, backup: Json) -> int | None:
    """How far back the table could be restored to any point; None where that was off.

    Neither a backup nor its table says so. It is asked once for each backup that is complete, and
    not whenever a table is described, which is far more often. Where the table is gone by then, or
    the right to ask is missing, the backup is good all the same.
    """
    name = backup["SourceTableDetails"]["TableName"]
    try:
        answer = aws.call("dynamodb", "DescribeContinuousBackups", TableName=name)
    except Fault as fault:
        if fault.kind not in _OFF_LIMITS:
            raise
        return None
    described = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    if described.get("PointInTimeRecoveryStatus") != "ENABLED":
        return None
    days: int = described.get("RecoveryPeriodInDays", _MOST_DAYS)
    return days


WATCH = Watch(
    name="dynamodb_backup",
    permissions=(
        "dynamodb:DescribeBackup",
        "dynamodb:DescribeContinuousBackups",
        "dynamodb:ListBackups",
    ),
    poll=_poll,
    batch=_PER_PAGE,
)
CREATE = Effect(
    name="back_up_table",
    operation="dynamodb:CreateBackup",
    permissions=("dynamodb:CreateBackup", "dynamodb:ListBackups"),
    start=_create,
    find=_find,
    watch=WATCH.name,
    at_source=True,
)
DELETE = Effect(
    name="delete",
    operation="dynamodb:DeleteBackup",
    permissions=("dynamodb:DeleteBackup",),
    start=_delete,
)
