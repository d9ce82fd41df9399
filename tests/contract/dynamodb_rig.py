"""What the driver suite has to know of DynamoDB tables."""

import uuid
from collections.abc import Mapping
from typing import Any

from cpm.aws import tags
from cpm.resources import _dynamodb_backups
from cpm.resources.contract import Json, Refs, Resource
from cpm.testing.stage import REGION, RecoveryCase, Rig, Stage

EXPIRY = {"Enabled": True, "AttributeName": "until"}
STREAM = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
INFREQUENT = "STANDARD_INFREQUENT_ACCESS"


def plant(stage: Stage) -> str:
    """A table with everything that can be chosen, and an item."""
    name = plant_bare(
        stage,
        AttributeDefinitions=[
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "day", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-day",
                "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
                "ProvisionedThroughput": {"ReadCapacityUnits": 2, "WriteCapacityUnits": 2},
            }
        ],
        StreamSpecification=STREAM,
        TableClass=INFREQUENT,
        DeletionProtectionEnabled=True,
    )
    stage.hand.call("dynamodb", "UpdateTimeToLive", TableName=name, TimeToLiveSpecification=EXPIRY)
    recovery = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 7}
    stage.hand.call(
        "dynamodb",
        "UpdateContinuousBackups",
        TableName=name,
        PointInTimeRecoverySpecification=recovery,
    )
    return name


def plant_bare(stage: Stage, **more: Any) -> str:
    """A table with a capacity and nothing else but an item."""
    capacity = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}
    return _plant(stage, **{"ProvisionedThroughput": capacity, **more})


def plant_on_demand(stage: Stage) -> str:
    """A table without a capacity of its own."""
    return _plant(stage, BillingMode="PAY_PER_REQUEST")


def _plant(stage: Stage, **more: Any) -> str:
    wanted = {
        "TableName": _unique("orders"),
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "Tags": tags.to_aws({"team": "red", "Name": "orders of the shop"}),
        **more,
    }
    stage.hand.call("dynamodb", "CreateTable", **wanted)
    name = str(wanted["TableName"])
    item = {"id": {"S": "1"}, "sum": {"N": "42"}}
    stage.hand.call("dynamodb", "PutItem", TableName=name, Item=item)
    return name


def table_of(stage: Stage, name: str) -> Json:
    """A table as AWS describes it."""
    found: Json = stage.hand.call("dynamodb", "DescribeTable", TableName=name)["Table"]
    return found


def tags_of_table(stage: Stage, name: str) -> dict[str, str]:
    """The tags of a table."""
    arn = table_of(stage, name)["TableArn"]
    return tags.from_aws(
        stage.hand.pages("dynamodb", "ListTagsOfResource", "Tags", ResourceArn=arn)
    )


def backups(stage: Stage) -> list[Json]:
    """All backups of the account in the region."""
    return list(stage.hand.pages("dynamodb", "ListBackups", "BackupSummaries"))


def lose(stage: Stage, arn: str) -> object:
    """Delete a backup as if somebody else had."""
    return stage.hand.call("dynamodb", "DeleteBackup", BackupArn=arn)


def _marks_of(stage: Stage, arn: str) -> dict[str, str]:
    found = stage.hand.call("dynamodb", "DescribeBackup", BackupArn=arn)["BackupDescription"]
    return _dynamodb_backups.marks_in(found["BackupDetails"]["BackupName"])


def _copies_with(stage: Stage, token: str) -> list[str]:
    return [each["BackupArn"] for each in backups(stage) if token in each["BackupName"]]


def _remains(stage: Stage) -> set[str]:
    return {str(name) for name in stage.hand.pages("dynamodb", "ListTables", "TableNames")}


def _nothing(_stage: Stage, _original: Resource) -> Json:
    return {}


def _check_same(stage: Stage, original: Resource, made: Mapping[str, Refs]) -> None:
    name = made["tag"]["table"]
    assert name == f"{original.resource_id}-{name.rsplit('-', maxsplit=1)[-1]}"
    was, now = table_of(stage, original.resource_id), table_of(stage, name)
    for fact in ("KeySchema", "StreamSpecification", "TableClassSummary"):
        assert now[fact] == was[fact]
    for fact in ("DeletionProtectionEnabled", "ItemCount"):
        assert now[fact] == was[fact] == 1
    assert now["ProvisionedThroughput"]["WriteCapacityUnits"] == 6
    assert [index["IndexName"] for index in now["GlobalSecondaryIndexes"]] == ["by-day"]
    hand = stage.hand
    expiry = hand.call("dynamodb", "DescribeTimeToLive", TableName=name)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "until"}
    described = hand.call("dynamodb", "DescribeContinuousBackups", TableName=name)
    recovery = described["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"
    assert recovery["RecoveryPeriodInDays"] == 7
    carried = tags_of_table(stage, name)
    assert dict(original.tags).items() <= carried.items()
    assert carried[tags.BACKUP_ID] == "7"


def _other(_stage: Stage, _original: Resource) -> Json:
    return {
        "table_name": _unique("copy"),
        "billing_mode": "PAY_PER_REQUEST",
        "preserve_tags": False,
        "additional_tags": {"who": "me"},
    }


def _check_other(stage: Stage, _original: Resource, made: Mapping[str, Refs]) -> None:
    name = made["tag"]["table"]
    assert name.startswith("copy-")
    table = table_of(stage, name)
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    carried = tags_of_table(stage, name)
    assert carried["who"] == "me"
    assert not carried.keys() & {"team", "Name"}


def _unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


DYNAMODB_TABLE = Rig(
    plant=plant,
    plant_many=lambda stage, count: [plant_bare(stage) for _ in range(count)],
    many=120,
    lose=lose,
    tags_of=_marks_of,
    copies_tags=False,
    copies_can_fail=False,
    copies_with=_copies_with,
    remains=_remains,
    absent_id="no-such-table",
    absent_ref=f"arn:aws:dynamodb:{REGION}:111122223333:table/x-1/backup/01489602797149-73d8d5bc",
    recoveries=(
        RecoveryCase("as it was", _nothing, _check_same),
        RecoveryCase("otherwise", _other, _check_other),
    ),
)
