"""DynamoDB tables over the API: protected, listed, deleted, and brought back."""

from typing import Any

from cpm.models.users import User
from tests.api.nouns.cloud import REGION, Cloud
from tests.api.nouns.estate import Estate, create, drain

STREAM = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
EXPIRY = {"Enabled": True, "AttributeName": "until"}


def backed_up(estate: Estate, table: str) -> tuple[int, Any]:
    """Back the table up; returns the backup's id and its snapshot."""
    estate.target("dynamodb_tables", table)
    backup = estate.run()
    assert backup["status"] == "B"
    (snapshot,) = estate.caller.get(f"/backups/{backup['id']}/snapshots/dynamodb_tables/").json
    return backup["id"], snapshot


def path_of(snapshot: Any) -> str:
    return f"/backups/{snapshot['backup']}/snapshots/dynamodb_tables/{snapshot['id']}/"


def recovered(estate: Estate, snapshot: Any, asked: dict[str, Any]) -> Any:
    """The record of a recovery that has come to its end."""
    recovery = create(estate.caller, f"{path_of(snapshot)}recover/", asked)
    assert (recovery["recovery_type"], recovery["status"]) == ("D", "P")
    drain()
    return estate.caller.get(f"/recoveries/{recovery['id']}/").json


def log_of(estate: Estate, recovery: Any) -> list[str]:
    lines = estate.caller.get(f"/recoveries/{recovery['id']}/logs/").json
    return [line["message"] for line in lines]


def table_of(cloud: Cloud, name: str) -> Any:
    """A table as AWS describes it, with its tags."""
    dynamodb = cloud.client("dynamodb")
    table = dynamodb.describe_table(TableName=name)["Table"]
    listed = dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]
    return table | {"Tags": {tag["Key"]: tag["Value"] for tag in listed}}


def tables(cloud: Cloud) -> set[str]:
    return set(cloud.client("dynamodb").list_tables()["TableNames"])


def in_aws(cloud: Cloud) -> Any:
    return cloud.client("dynamodb").list_backups()["BackupSummaries"]


def test_a_target_is_shown_as_aws_has_it(estate: Estate, cloud: Cloud) -> None:
    name = cloud.table()
    path = f"{estate.path}targets/dynamodb_tables/"
    target = create(estate.caller, path, {"table": name, "region": REGION})
    assert target == {
        "id": target["id"],
        "policy": estate.policy,
        "resource_id": name,
        "region": REGION,
        "name": "sales",
        "status": "exists",
        "added_by": "user",
    }
    assert estate.caller.get(path).json == [target]
    for wrong in ("customers", "no", "with blanks"):
        assert estate.caller.post(path, {"table": wrong, "region": REGION}).codes == {
            "resource_id": ["does_not_exist"]
        }
    one = f"{path}{target['id']}/"
    assert estate.caller.put(one, {}).status == 405
    assert estate.caller.using("1.0.0").get(path).status == 404
    assert estate.caller.delete(one).status == 204
    assert estate.caller.get(path).json == []


def test_tables_count_by_their_size(estate: Estate, cloud: Cloud) -> None:
    User.objects.filter(pk=estate.caller.id).update(max_dynamodb_gib=1)
    estate.target("dynamodb_tables", cloud.table())
    body = {"table": cloud.table("customers"), "region": REGION}
    answer = estate.caller.post(f"{estate.path}targets/dynamodb_tables/", body)
    assert answer.codes == {"non_field_errors": ["limit_exceeded"]}
    assert "max_dynamodb_gib: 1 are allowed, this would make 2" in str(answer.json)


def test_a_backup_is_made_shown_and_deleted(estate: Estate, cloud: Cloud) -> None:
    name = cloud.table()
    backup, snapshot = backed_up(estate, name)
    (made,) = in_aws(cloud)
    assert snapshot == {
        "id": snapshot["id"],
        "backup": backup,
        "snapshot_id": made["BackupArn"],
        "status": "S",
        "region": REGION,
        "account": estate.account,
        "resource_id": name,
        "resource_name": "sales",
        "start_time": snapshot["start_time"],
        "finish_time": snapshot["finish_time"],
        "deleted_time": None,
        "size_gib": 1,
        "encrypted": True,
        "progress": 100,
        "error": None,
    }
    prefix, server, record, token, policy = made["BackupName"].split(".")
    assert (prefix, record, policy) == ("cpm", str(backup), "nightly")
    assert len(server) == len(token) == 36
    (listed,) = estate.caller.get(f"/backups/{backup}/snapshots/").json
    assert listed == snapshot | {"snapshot_type": "dynamodb_tables"}
    assert estate.caller.get(path_of(snapshot)).json == snapshot
    assert estate.caller.delete(path_of(snapshot)).status == 204
    assert in_aws(cloud) == []
    assert estate.caller.get(f"/backups/{backup}/").json["status"] == "D"


def test_a_table_that_is_gone_comes_back_with_all_that_it_had(estate: Estate, cloud: Cloud) -> None:
    dynamodb = cloud.client("dynamodb")
    name = cloud.table(StreamSpecification=STREAM, TableClass="STANDARD_INFREQUENT_ACCESS")
    dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=EXPIRY)
    dynamodb.update_continuous_backups(
        TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    dynamodb.update_table(TableName=name, DeletionProtectionEnabled=True)
    _, snapshot = backed_up(estate, name)
    dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=name)
    done = recovered(estate, snapshot, {})
    assert (done["status"], done["error"]) == ("S", None)
    assert done["result_resource_ids"] == [done["result_resource_id"]] == [name]
    table = table_of(cloud, name)
    assert table["Tags"].items() >= {"Name": "sales", "team": "red"}.items()
    assert table["Tags"]["cpm_policy_name"] == "nightly"
    assert (table["StreamSpecification"], table["DeletionProtectionEnabled"]) == (STREAM, True)
    assert table["TableClassSummary"]["TableClass"] == "STANDARD_INFREQUENT_ACCESS"
    expiry = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "until"}
    described = dynamodb.describe_continuous_backups(TableName=name)
    recovery = described["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"
    item = dynamodb.get_item(TableName=name, Key={"id": {"S": "1"}})["Item"]
    assert item["sum"] == {"N": "42"}
    assert log_of(estate, done)[-1] == f"Recovered as {name}."


def test_a_taken_name_is_refused_if_asked_for_and_else_another_is_found(
    estate: Estate, cloud: Cloud
) -> None:
    name = cloud.table()
    _, snapshot = backed_up(estate, name)
    answer = estate.caller.post(f"{path_of(snapshot)}recover/", {"table_name": name})
    assert answer.codes == {"table_name": ["unique"]}
    assert estate.caller.get("/recoveries/").json == []
    assert recovered(estate, snapshot, {})["result_resource_id"] == "orders-2"
    asked = {"table_name": "mine"}
    assert recovered(estate, snapshot, asked)["result_resource_id"] == "mine"
    assert tables(cloud) == {name, "orders-2", "mine"}


def test_options_override_the_original(estate: Estate, cloud: Cloud) -> None:
    _, snapshot = backed_up(estate, cloud.table())
    asked = {
        "table_name": "other.table",
        "billing_mode": "PAY_PER_REQUEST",
        "preserve_tags": False,
        "additional_tags": {"ticket": "4711"},
    }
    assert recovered(estate, snapshot, asked)["status"] == "S"
    table = table_of(cloud, "other.table")
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["Tags"]["ticket"] == "4711"
    assert not table["Tags"].keys() & {"team", "Name"}


def test_what_can_be_seen_to_be_wrong_makes_no_record(estate: Estate, cloud: Cloud) -> None:
    _, snapshot = backed_up(estate, cloud.table())
    path = f"{path_of(snapshot)}recover/"
    for asked, codes in (
        ({"table_name": "no"}, {"table_name": ["invalid"]}),
        ({"table_name": "x" * 256}, {"table_name": ["max_length"]}),
        ({"billing_mode": "FREE"}, {"billing_mode": ["invalid_choice"]}),
        ({"region": "eu-west-1"}, {"non_field_errors": ["does_not_exist"]}),
    ):
        assert estate.caller.post(path, asked).codes == codes
    assert estate.caller.delete(path_of(snapshot)).status == 204
    assert estate.caller.post(path, {}).codes == {"non_field_errors": ["invalid"]}
    assert estate.caller.get("/recoveries/").json == []


def test_what_cannot_be_put_back_is_told_and_does_not_cost_the_table(
    estate: Estate, cloud: Cloud
) -> None:
    name = cloud.table(StreamSpecification=STREAM)
    cloud.client("dynamodb").update_time_to_live(TableName=name, TimeToLiveSpecification=EXPIRY)
    _, snapshot = backed_up(estate, name)
    cloud.simulator.faults([{"op": "dynamodb:UpdateTimeToLive", "kind": "denied"}])
    done = recovered(estate, snapshot, {})
    assert (done["status"], done["result_resource_id"]) == ("A", "orders-2")
    assert "enable_time_to_live: dynamodb:UpdateTimeToLive AccessDenied" in done["error"]
    assert table_of(cloud, "orders-2")["StreamSpecification"] == STREAM


def test_a_table_that_cannot_be_tagged_is_taken_back(estate: Estate, cloud: Cloud) -> None:
    name = cloud.table(StreamSpecification=STREAM)
    _, snapshot = backed_up(estate, name)
    cloud.simulator.faults([{"op": "dynamodb:TagResource", "kind": "denied"}])
    done = recovered(estate, snapshot, {})
    assert (done["status"], done["result_resource_ids"]) == ("F", [])
    assert "dynamodb:TagResource AccessDenied" in done["error"]
    assert tables(cloud) == {name}


def test_a_table_in_the_making_is_waited_for(estate: Estate, cloud: Cloud) -> None:
    name = cloud.table()
    estate.target("dynamodb_tables", name)
    cloud.simulator.faults(
        [
            {
                "op": "dynamodb:CreateBackup",
                "kind": "denied",
                "times": 1,
                "code": "ContinuousBackupsUnavailableException",
            }
        ]
    )
    backup = estate.run()
    assert backup["status"] == "B"
    assert len(in_aws(cloud)) == 1
