"""DynamoDB backups: made, watched, listed, deleted, restored."""

from datetime import timedelta
from typing import Any

import pytest

from cpm.simulator.process import Credentials, Simulator
from tests.simulator.conftest import Clients, Later
from tests.simulator.databases import tag_list
from tests.simulator.expect import refused


@pytest.fixture
def dynamodb(client: Clients, account: Credentials) -> Any:
    """DynamoDB in the test's own account."""
    return client("dynamodb", account)


def make_table(dynamodb: Any, name: str = "orders", **more: Any) -> str:
    """A table with one item; its ARN."""
    made = dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
        **more,
    )
    dynamodb.put_item(TableName=name, Item={"id": {"S": "1"}, "sum": {"N": "42"}})
    return str(made["TableDescription"]["TableArn"])


def back_up(dynamodb: Any, name: str = "b-1", table: str = "orders") -> str:
    """A backup of a table; its ARN."""
    made = dynamodb.create_backup(TableName=table, BackupName=name)
    return str(made["BackupDetails"]["BackupArn"])


def status(dynamodb: Any, arn: str) -> str:
    """A backup's status now."""
    found = dynamodb.describe_backup(BackupArn=arn)["BackupDescription"]
    return str(found["BackupDetails"]["BackupStatus"])


def listed(dynamodb: Any, **more: Any) -> list[str]:
    """The names of the backups in a list."""
    found = dynamodb.list_backups(**more)["BackupSummaries"]
    return [item["BackupName"] for item in found]


def test_a_backup_is_creating_first_and_then_available(
    simulator: Simulator, dynamodb: Any, later: Later
) -> None:
    make_table(dynamodb)
    simulator.config(pending=3600)
    made = dynamodb.create_backup(TableName="orders", BackupName="b-1")["BackupDetails"]
    assert made["BackupStatus"] == "CREATING"
    assert status(dynamodb, made["BackupArn"]) == "CREATING"
    later(3600)
    assert status(dynamodb, made["BackupArn"]) == "AVAILABLE"


def test_a_backup_knows_its_table_though_it_is_gone(dynamodb: Any) -> None:
    arn = make_table(dynamodb)
    backup = back_up(dynamodb)
    dynamodb.delete_table(TableName="orders")
    found = dynamodb.describe_backup(BackupArn=backup)["BackupDescription"]
    assert found["SourceTableDetails"]["TableArn"] == arn
    assert found["SourceTableDetails"]["KeySchema"][0]["AttributeName"] == "id"


def test_what_is_not_there_is_refused(dynamodb: Any) -> None:
    with refused("TableNotFoundException", 400):
        back_up(dynamodb)
    arn = "arn:aws:dynamodb:us-east-1:111122223333:table/orders/backup/01-0"
    for operation in (dynamodb.describe_backup, dynamodb.delete_backup):
        with refused("BackupNotFoundException", 400):
            operation(BackupArn=arn)
    with refused("BackupNotFoundException"):
        dynamodb.restore_table_from_backup(TargetTableName="again", BackupArn=arn)


def test_a_backup_in_the_making_is_neither_deleted_nor_restored(
    simulator: Simulator, dynamodb: Any, later: Later
) -> None:
    make_table(dynamodb)
    simulator.config(pending=3600)
    arn = back_up(dynamodb)
    with refused("BackupInUseException"):
        dynamodb.delete_backup(BackupArn=arn)
    with refused("BackupInUseException"):
        dynamodb.restore_table_from_backup(TargetTableName="again", BackupArn=arn)
    later(3600)
    dynamodb.delete_backup(BackupArn=arn)
    with refused("BackupNotFoundException"):
        status(dynamodb, arn)


def test_backups_come_in_pages_of_one_table_or_all(dynamodb: Any) -> None:
    first = make_table(dynamodb)
    make_table(dynamodb, "customers")
    for number in range(3):
        back_up(dynamodb, f"o-{number}")
    back_up(dynamodb, "c-0", "customers")
    page = dynamodb.list_backups(TableName="orders", Limit=2)
    rest = dynamodb.list_backups(
        TableName=first, Limit=2, ExclusiveStartBackupArn=page["LastEvaluatedBackupArn"]
    )
    shown = page["BackupSummaries"] + rest["BackupSummaries"]
    assert sorted(item["BackupName"] for item in shown) == ["o-0", "o-1", "o-2"]
    assert "LastEvaluatedBackupArn" not in rest
    assert sorted(listed(dynamodb)) == ["c-0", "o-0", "o-1", "o-2"]


def test_lists_are_narrowed_by_time_and_type(dynamodb: Any) -> None:
    make_table(dynamodb)
    arn = back_up(dynamodb)
    found = dynamodb.describe_backup(BackupArn=arn)["BackupDescription"]["BackupDetails"]
    made_at = found["BackupCreationDateTime"]
    hour = timedelta(hours=1)
    assert listed(dynamodb, TimeRangeLowerBound=made_at - hour) == ["b-1"]
    assert listed(dynamodb, TimeRangeLowerBound=made_at + hour) == []
    assert listed(dynamodb, TimeRangeUpperBound=made_at - hour) == []
    assert listed(dynamodb, BackupType="USER") == ["b-1"]
    assert listed(dynamodb, BackupType="SYSTEM") == []


def test_a_made_backup_may_be_listed_late(
    simulator: Simulator, dynamodb: Any, later: Later
) -> None:
    make_table(dynamodb)
    simulator.faults([{"op": "dynamodb:CreateBackup", "kind": "unlisted", "seconds": 3600}])
    arn = back_up(dynamodb)
    assert listed(dynamodb) == []
    with refused("BackupNotFoundException"):
        status(dynamodb, arn)
    later(3600)
    assert listed(dynamodb) == ["b-1"]


def test_a_table_comes_back_with_its_items_but_without_its_tags(
    simulator: Simulator, dynamodb: Any, later: Later
) -> None:
    make_table(dynamodb, Tags=tag_list(team="blue"))
    arn = back_up(dynamodb)
    dynamodb.delete_table(TableName="orders")
    simulator.config(pending=3600)
    made = dynamodb.restore_table_from_backup(TargetTableName="orders", BackupArn=arn)
    assert made["TableDescription"]["TableStatus"] == "CREATING"
    assert made["TableDescription"]["RestoreSummary"]["RestoreInProgress"] is True
    with refused("BackupInUseException"):
        dynamodb.delete_backup(BackupArn=arn)
    with refused("TableInUseException"):
        back_up(dynamodb, "b-2")
    later(3600)
    table = dynamodb.describe_table(TableName="orders")["Table"]
    assert table["TableStatus"] == "ACTIVE"
    assert table["RestoreSummary"]["RestoreInProgress"] is False
    assert table["ProvisionedThroughput"]["WriteCapacityUnits"] == 6
    item = dynamodb.get_item(TableName="orders", Key={"id": {"S": "1"}})["Item"]
    assert item["sum"] == {"N": "42"}
    assert dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"] == []
    dynamodb.tag_resource(ResourceArn=table["TableArn"], Tags=tag_list(a="b"))
    tags = dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]
    assert tags == tag_list(a="b")


def test_a_restored_table_may_be_billed_otherwise(dynamodb: Any) -> None:
    make_table(dynamodb)
    dynamodb.restore_table_from_backup(
        TargetTableName="again",
        BackupArn=back_up(dynamodb),
        BillingModeOverride="PAY_PER_REQUEST",
    )
    table = dynamodb.describe_table(TableName="again")["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_a_taken_name_is_not_restored_to(dynamodb: Any) -> None:
    make_table(dynamodb)
    with refused("TableAlreadyExistsException"):
        dynamodb.restore_table_from_backup(TargetTableName="orders", BackupArn=back_up(dynamodb))


def test_restores_at_one_time_are_limited(simulator: Simulator, dynamodb: Any) -> None:
    make_table(dynamodb)
    arn = back_up(dynamodb)
    simulator.config(pending=3600, limits={"dynamodb_restores": 1})
    dynamodb.restore_table_from_backup(TargetTableName="one", BackupArn=arn)
    with refused("LimitExceededException"):
        dynamodb.restore_table_from_backup(TargetTableName="two", BackupArn=arn)


def test_a_table_and_its_backup_tell_their_size(dynamodb: Any) -> None:
    make_table(dynamodb)
    size = dynamodb.describe_table(TableName="orders")["Table"]["TableSizeBytes"]
    assert size > 0
    found = dynamodb.describe_backup(BackupArn=back_up(dynamodb))["BackupDescription"]
    assert found["BackupDetails"]["BackupSizeBytes"] == size
    assert dynamodb.list_backups()["BackupSummaries"][0]["BackupSizeBytes"] == size


def test_a_backup_tells_of_stream_expiry_and_encryption(dynamodb: Any) -> None:
    make_table(
        dynamodb,
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        SSESpecification={"Enabled": True},
    )
    expiry = {"Enabled": True, "AttributeName": "until"}
    dynamodb.update_time_to_live(TableName="orders", TimeToLiveSpecification=expiry)
    arn = back_up(dynamodb)
    features = dynamodb.describe_backup(BackupArn=arn)["BackupDescription"][
        "SourceTableFeatureDetails"
    ]
    assert features["StreamDescription"]["StreamViewType"] == "NEW_IMAGE"
    assert features["TimeToLiveDescription"] == {
        "TimeToLiveStatus": "ENABLED",
        "AttributeName": "until",
    }
    dynamodb.restore_table_from_backup(TargetTableName="again", BackupArn=arn)
    table = dynamodb.describe_table(TableName="again")["Table"]
    assert table["SSEDescription"] == features["SSEDescription"]
    assert "StreamSpecification" not in table


def test_a_table_that_is_changed_is_updating_first(
    simulator: Simulator, dynamodb: Any, later: Later
) -> None:
    make_table(dynamodb, TableClass="STANDARD_INFREQUENT_ACCESS")
    simulator.config(pending=3600)
    with refused("ValidationException"):
        dynamodb.update_table(
            TableName="orders", TableClass="STANDARD", DeletionProtectionEnabled=True
        )
    changed = dynamodb.update_table(TableName="orders", TableClass="STANDARD")["TableDescription"]
    assert changed["TableStatus"] == "UPDATING"
    assert changed["TableClassSummary"] == {"TableClass": "STANDARD"}
    with refused("ResourceInUseException"):
        dynamodb.update_table(TableName="orders", DeletionProtectionEnabled=True)
    with refused("TableInUseException"):
        back_up(dynamodb)
    later(400)
    dynamodb.update_table(TableName="orders", DeletionProtectionEnabled=True)
    later(400)
    with refused("ValidationException"):
        dynamodb.delete_table(TableName="orders")


def test_what_is_so_already_is_not_changed_again(dynamodb: Any) -> None:
    make_table(dynamodb)
    stream = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    expiry = {"Enabled": True, "AttributeName": "until"}
    dynamodb.update_table(TableName="orders", StreamSpecification=stream)
    dynamodb.update_time_to_live(TableName="orders", TimeToLiveSpecification=expiry)
    with refused("ValidationException"):
        dynamodb.update_table(TableName="orders", StreamSpecification=stream)
    with refused("ValidationException"):
        dynamodb.update_time_to_live(TableName="orders", TimeToLiveSpecification=expiry)


def test_a_tag_replaces_the_one_of_its_key(
    simulator: Simulator, dynamodb: Any, later: Later
) -> None:
    arn = make_table(dynamodb, Tags=tag_list(team="blue", cost="7"))
    dynamodb.tag_resource(ResourceArn=arn, Tags=tag_list(team="red"))
    tags = dynamodb.list_tags_of_resource(ResourceArn=arn)["Tags"]
    assert tags == tag_list(team="red", cost="7")
    backup = back_up(dynamodb)
    simulator.config(pending=3600)
    made = dynamodb.restore_table_from_backup(TargetTableName="again", BackupArn=backup)
    again = made["TableDescription"]["TableArn"]
    with refused("ResourceInUseException"):
        dynamodb.tag_resource(ResourceArn=again, Tags=tags)
    with refused("ResourceInUseException"):
        dynamodb.delete_table(TableName="again")
    later(3600)
    dynamodb.tag_resource(ResourceArn=again, Tags=tags)
    dynamodb.delete_table(TableName="again")
