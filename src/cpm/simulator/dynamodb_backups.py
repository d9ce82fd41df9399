"""DynamoDB backups: creating, then available; listed in pages, deleted, restored to new tables.

A backup has no failed state in DynamoDB: the failures that the configuration names pass it by.
"""

from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from moto.dynamodb.models.table import Backup, RestoredTable

from cpm.simulator import making, markers
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.dynamodb_tables import backend, name_of, size_bytes, status
from cpm.simulator.errors import AwsError

_MOST_LISTED = 100


def install(handlers: Handlers) -> None:
    """Take over backups."""
    handlers.add(
        "dynamodb",
        {
            "CreateBackup": create_backup,
            "DeleteBackup": delete_backup,
            "DescribeBackup": describe_backup,
            "ListBackups": list_backups,
            "RestoreTableFromBackup": restore_table,
        },
    )


def create_backup(call: Call) -> Mapping[str, Any]:
    """A backup of a table with its items."""
    dynamodb = backend(call)
    name = name_of(call.params["TableName"])
    table = dynamodb.tables.get(name)
    if table is None:
        raise AwsError("TableNotFoundException", f"Table not found: {name}")
    if status(table) != "ACTIVE":
        raise AwsError("TableInUseException", f"Table is {status(table)}: {name}")
    backup = dynamodb.create_backup(name, call.params["BackupName"])
    making.begin(call, backup, call.config.pending)
    return {"BackupDetails": _details(_settled(backup))}


def describe_backup(call: Call) -> Mapping[str, Any]:
    """One backup and the table as it was."""
    return {"BackupDescription": _description(_own(call))}


def delete_backup(call: Call) -> Mapping[str, Any]:
    """Delete a backup that is neither in the making nor being restored."""
    backup = _own(call)
    _check_idle(call, backup)
    return {"BackupDescription": _description(backend(call).delete_backup(backup.arn))}


def list_backups(call: Call) -> Mapping[str, Any]:
    """The backups of the region, or of one table, oldest first."""
    limit = call.get("Limit", _MOST_LISTED)
    if not 1 <= limit <= _MOST_LISTED:
        raise AwsError("ValidationException", f"Limit must be between 1 and {_MOST_LISTED}")
    present = making.listed(backend(call).backups.values())
    found = [_settled(backup) for backup in present if _is_asked_for(call, backup)]
    start = call.get("ExclusiveStartBackupArn")
    if start:
        found = [backup for backup in found if _age(backup) > _age_in(start)]
    backups, more = markers.page(found, _age, limit, None)
    return {
        "BackupSummaries": [_sized(backup, backup.summary) for backup in backups],
        "LastEvaluatedBackupArn": backups[-1].arn if more else None,
    }


def restore_table(call: Call) -> Mapping[str, Any]:
    """A new table with the items of a backup; settings and tags of the old one stay behind."""
    backup, dynamodb = _own(call), backend(call)
    if backup.status != "AVAILABLE":
        raise AwsError("BackupInUseException", f"Backup is being created: {backup.arn}")
    name = call.params["TargetTableName"]
    if name in dynamodb.tables:
        raise AwsError("TableAlreadyExistsException", f"Table already exists: {name}")
    _check_restores(call)
    table = dynamodb.restore_table_from_backup(name, backup.arn)
    table.sse_specification = deepcopy(backup.table.sse_specification)
    _apply_options(call, backup, table)
    making.begin(call, table, call.config.pending)
    return {"TableDescription": table.describe()["TableDescription"]}


def _apply_options(call: Call, backup: Backup, table: RestoredTable) -> None:
    throughput = call.get("ProvisionedThroughputOverride")
    table.billing_mode = call.get("BillingModeOverride", backup.table.billing_mode)
    if throughput:
        table.throughput = {**throughput, "NumberOfDecreasesToday": 0}
    if table.billing_mode == "PAY_PER_REQUEST":
        table.throughput = {
            "ReadCapacityUnits": 0,
            "WriteCapacityUnits": 0,
            "NumberOfDecreasesToday": 0,
        }
    if "GlobalSecondaryIndexOverride" in call.params:
        wanted = {item["IndexName"] for item in call.params["GlobalSecondaryIndexOverride"]}
        table.global_indexes = [item for item in table.global_indexes if item.name in wanted]
    if "LocalSecondaryIndexOverride" in call.params:
        wanted = {item["IndexName"] for item in call.params["LocalSecondaryIndexOverride"]}
        table.indexes = [item for item in table.indexes if item.name in wanted]


def _own(call: Call) -> Backup:
    arn = call.params["BackupArn"]
    backup = backend(call).backups.get(arn)
    if backup is None or not making.is_listed(backup):
        raise AwsError("BackupNotFoundException", f"Backup not found: {arn}")
    return _settled(backup)


def _settled(backup: Backup) -> Backup:
    backup.status = "CREATING" if making.is_pending(backup) else "AVAILABLE"
    return backup


def _check_idle(call: Call, backup: Backup) -> None:
    if backup.status == "CREATING":
        raise AwsError("BackupInUseException", f"Backup is being created: {backup.arn}")
    if any(table.source_backup_arn == backup.arn for table in _being_restored(call)):
        raise AwsError("BackupInUseException", f"Backup is being restored: {backup.arn}")


def _check_restores(call: Call) -> None:
    limit = call.config.limits.dynamodb_restores
    if limit is not None and len(_being_restored(call)) >= limit:
        text = f"Subscriber limit exceeded: at most {limit:g} restores at a time"
        raise AwsError("LimitExceededException", text)


def _being_restored(call: Call) -> list[RestoredTable]:
    return [
        table
        for table in backend(call).tables.values()
        if isinstance(table, RestoredTable) and making.is_pending(table)
    ]


def _description(backup: Backup) -> Mapping[str, Any]:
    description: dict[str, Any] = backup.description
    table = description["SourceTableDetails"]
    features = ("GlobalSecondaryIndexes", "LocalSecondaryIndexes", "SSEDescription")
    found = {name: table[name] for name in features if table.get(name)}
    if table.get("StreamSpecification"):
        found["StreamDescription"] = table["StreamSpecification"]
    found["TimeToLiveDescription"] = backup.table.ttl
    return {
        "BackupDetails": _details(backup),
        "SourceTableDetails": table,
        "SourceTableFeatureDetails": found,
    }


def _details(backup: Backup) -> Mapping[str, Any]:
    return _sized(backup, backup.details)


def _sized(backup: Backup, shown: dict[str, Any]) -> Mapping[str, Any]:
    return {**shown, "BackupSizeBytes": size_bytes(backup.table)}


def _is_asked_for(call: Call, backup: Backup) -> bool:
    name, kind = call.get("TableName"), call.get("BackupType", "ALL")
    earliest, latest = call.get("TimeRangeLowerBound"), call.get("TimeRangeUpperBound")
    made_at = _utc(backup.creation_date_time)
    return (
        (name is None or name_of(name) == backup.table.name)
        and kind in ("ALL", backup.type)
        and (earliest is None or made_at >= _utc(earliest))
        and (latest is None or made_at < _utc(latest))
    )


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _age(backup: Backup) -> str:
    return _age_in(backup.arn)


def _age_in(arn: str) -> str:
    # A backup's ARN ends in the time when it was made.
    return arn.rsplit("/", maxsplit=1)[-1]
