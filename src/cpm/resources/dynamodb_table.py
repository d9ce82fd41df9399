"""DynamoDB tables: on-demand backups of them, and tables restored from these."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cpm.aws.sessions import Aws
from cpm.resources import (
    _dynamodb,
    _dynamodb_backups,
    _dynamodb_recovery,
    _dynamodb_restores,
)
from cpm.resources._dynamodb_options import RecoverOptions
from cpm.resources.contract import Driver, Order, Resource, SnapshotCollection, TagRules


@dataclass(frozen=True)
class TargetOptions:
    """A table has nothing to choose."""


def _discover(aws: Aws) -> Iterator[Resource]:
    return _dynamodb.resources(aws, _dynamodb.names(aws))


def _describe(aws: Aws, ids: Iterable[str]) -> Iterator[Resource]:
    return _dynamodb.resources(aws, ids)


def _plan_snapshots(table: Resource, _options: Any) -> Iterator[Order]:
    yield _dynamodb_backups.order(table)


DRIVER = Driver(
    kind=_dynamodb.KIND,
    label="DynamoDB table",
    label_plural="DynamoDB tables",
    target_collection="dynamodb_tables",
    target_id_alias="table",
    recovery_type="D",
    snapshot_collections=(
        SnapshotCollection(
            name=_dynamodb.COLLECTION,
            label="DynamoDB backups",
            can_recover=True,
            reported_since="1.1.0",
        ),
    ),
    effects=(
        _dynamodb_backups.CREATE,
        _dynamodb_backups.DELETE,
        _dynamodb_restores.RESTORE,
        _dynamodb_restores.TAG,
        _dynamodb_restores.TIME_TO_LIVE,
        _dynamodb_restores.POINT_IN_TIME,
        _dynamodb_restores.UPDATE,
    ),
    watches=(_dynamodb_backups.WATCH, _dynamodb_restores.WATCH),
    read_permissions=(
        "dynamodb:DescribeBackup",
        "dynamodb:DescribeTable",
        "dynamodb:ListBackups",
        "dynamodb:ListTables",
        "dynamodb:ListTagsOfResource",
    ),
    discover=_discover,
    describe=_describe,
    plan_snapshots=_plan_snapshots,
    plan_recovery=_dynamodb_recovery.plan,
    target_options=TargetOptions,
    recover_options=RecoverOptions,
    limit="max_dynamodb_gib",
    inventory=_dynamodb_backups.owned,
    tag_rules=TagRules("dynamodb", "table/"),
)
