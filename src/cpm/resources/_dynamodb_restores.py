"""The effects that restore a table, give it tags and settings, and take it back."""

from collections.abc import Mapping, Sequence

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _dynamodb
from cpm.resources._restored import STEP, Restored
from cpm.resources.contract import Ask, Effect, Json, Refs, State, Verdict, Watch

STANDARD = "STANDARD"

# AWS writes the items with the caller's rights, and uses his rights to the key of the backup.
_WRITING = (
    "dynamodb:BatchWriteItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:Scan",
    "dynamodb:UpdateItem",
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
# As many as AWS restores at a time in an account and region.
_MOST_AT_ONCE = 50


def _restore(aws: Aws, ask: Ask) -> Refs:
    aws.call("dynamodb", "RestoreTableFromBackup", **ask.spec["parameters"])
    return _wanted(ask).refs


def _find(aws: Aws, ask: Ask) -> Refs | None:
    """The table, if it comes from the same backup and nobody else has tagged it."""
    wanted = _wanted(ask)
    found = _dynamodb.table(aws, wanted.name)
    if found is None:
        return None
    backup = found.get("RestoreSummary", {}).get("SourceBackupArn")
    is_same = backup == ask.spec["parameters"]["BackupArn"]
    return wanted.refs if is_same and not _is_anothers(aws, wanted, found) else None


def _wanted(ask: Ask) -> Restored:
    return Restored(ask.spec["parameters"]["TargetTableName"], (ask.token,))


def _take_back(aws: Aws, refs: Refs) -> None:
    made = Restored.in_refs(refs)
    found = _dynamodb.table(aws, made.name)
    if found is not None and not _is_anothers(aws, made, found):
        aws.call("dynamodb", "DeleteTable", TableName=made.name)


def _is_anothers(aws: Aws, made: Restored, found: Json) -> bool:
    return made.is_anothers(_dynamodb.tags_of(aws, found) or {})


def _tag(aws: Aws, ask: Ask) -> Refs:
    made, found = _restored(aws, ask)
    made.refuse_anothers(_dynamodb.tags_of(aws, found) or {})
    wanted = tags.merged(made.marks(ask), ask.spec["tags"])
    aws.call("dynamodb", "TagResource", ResourceArn=found["TableArn"], Tags=tags.to_aws(wanted))
    return {"table": made.name}


def _restored(aws: Aws, ask: Ask) -> tuple[Restored, Json]:
    made = Restored.before(ask)
    found = _dynamodb.table(aws, made.name)
    if found is None:
        raise Fault(FaultKind.MISSING, f"table {made.name} does not exist any longer")
    return made, found


def _enable_time_to_live(aws: Aws, ask: Ask) -> Refs:
    """Let items expire; AWS refuses what is so already, and a second change within the hour."""
    name, attribute = _recovered(ask), ask.spec["attribute"]
    answer = aws.call("dynamodb", "DescribeTimeToLive", TableName=name)
    now = answer["TimeToLiveDescription"]
    is_on = now.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    if not is_on or now.get("AttributeName") != attribute:
        wanted = {"Enabled": True, "AttributeName": attribute}
        aws.call("dynamodb", "UpdateTimeToLive", TableName=name, TimeToLiveSpecification=wanted)
    return {}


def _enable_point_in_time_recovery(aws: Aws, ask: Ask) -> Refs:
    wanted = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": ask.spec["days"]}
    aws.call(
        "dynamodb",
        "UpdateContinuousBackups",
        TableName=_recovered(ask),
        PointInTimeRecoverySpecification=wanted,
    )
    return {}


def _update(aws: Aws, ask: Ask) -> Refs:
    """Change what is not so already; AWS refuses to open a stream that is open."""
    name = _recovered(ask)
    now = _settings_of(_dynamodb.table(aws, name) or {})
    wanted = {key: value for key, value in ask.spec["settings"].items() if now[key] != value}
    if wanted:
        aws.call("dynamodb", "UpdateTable", TableName=name, **wanted)
    return {"table": name}


def _settings_of(described: Json) -> Json:
    return {
        "TableClass": described.get("TableClassSummary", {}).get("TableClass", STANDARD),
        "StreamSpecification": described.get("StreamSpecification"),
        "DeletionProtectionEnabled": described.get("DeletionProtectionEnabled", False),
    }


def _recovered(ask: Ask) -> str:
    """The table that the chain has restored and tagged; raises Fault where it has not."""
    if ask.failed & {STEP, "tag"}:
        raise Fault(FaultKind.INVALID, "the table was not restored")
    return Restored.before(ask).name


def _poll(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    return {ref: _verdict(_dynamodb.table(aws, Restored.of(ref).name)) for ref in refs}


def _verdict(table: Json | None) -> Verdict:
    match table["TableStatus"] if table else "DELETING":
        case "ACTIVE":
            return Verdict(State.DONE, 100)
        case "CREATING" | "UPDATING":
            return Verdict(State.PENDING)
        case "DELETING":
            return Verdict(State.GONE)
        case "INACCESSIBLE_ENCRYPTION_CREDENTIALS" | "ARCHIVING" | "ARCHIVED":
            return Verdict(State.FAILED, reason="its key cannot be used")
    return Verdict(State.UNKNOWN)


_SEE = ("dynamodb:DescribeTable",)
_SEE_TAGS = (*_SEE, "dynamodb:ListTagsOfResource")

# AWS describes one table at a time.
WATCH = Watch("dynamodb_table", _SEE, _poll, batch=100)

RESTORE = Effect(
    name="restore_table",
    operation="dynamodb:RestoreTableFromBackup",
    permissions=("dynamodb:RestoreTableFromBackup", *_WRITING, *_SEE_TAGS),
    start=_restore,
    find=_find,
    watch=WATCH.name,
    undo=_take_back,
    undo_permissions=("dynamodb:DeleteTable", *_SEE_TAGS),
    most_at_once=_MOST_AT_ONCE,
)
TAG = Effect(
    name="tag_table",
    operation="dynamodb:TagResource",
    permissions=("dynamodb:TagResource", *_SEE_TAGS),
    start=_tag,
    makes_result=True,
)
TIME_TO_LIVE = Effect(
    name="enable_time_to_live",
    operation="dynamodb:UpdateTimeToLive",
    permissions=("dynamodb:DescribeTimeToLive", "dynamodb:UpdateTimeToLive"),
    start=_enable_time_to_live,
    tidies_up=True,
)
POINT_IN_TIME = Effect(
    name="enable_point_in_time_recovery",
    operation="dynamodb:UpdateContinuousBackups",
    permissions=("dynamodb:UpdateContinuousBackups",),
    start=_enable_point_in_time_recovery,
    tidies_up=True,
)
UPDATE = Effect(
    name="update_table",
    operation="dynamodb:UpdateTable",
    permissions=("dynamodb:UpdateTable", *_SEE),
    start=_update,
    watch=WATCH.name,
    tidies_up=True,
)
