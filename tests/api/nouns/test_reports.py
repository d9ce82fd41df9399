"""Reports over the API: the same lines as JSON and as CSV."""

import csv
import io
import re
from typing import Any

import pytest

from cpm.models.users import UserKind
from tests.api.cast import Caller, caller, make_user
from tests.api.nouns.cloud import REGION, Cloud
from tests.api.nouns.estate import Estate, create, drain

HEADERS = {
    "backups": "User,Backup ID,Account,AWS Account Number,Policy,Status,DR Status,S3 Copy Status,"
    "Start Time,Finish Time,Is Retry,Frozen,Deleted",
    "snapshots": "User,Backup ID,Account,AWS Account Number,Policy,Status,Region,Type,"
    "Volume/DB/Cluster,Volume/DB/Cluster Name,Instance,Instance Name,Snapshot ID,Succeeded,"
    "Start At,Finish At,Deleted At",
    "audit": "Time,User,Delegate,Event Type,Object,Description,Source Address",
    "protected-resources": "User,Resource ID,Resource Name,Type,Region,Account,Policies,Schedules,"
    "Last Successful Backup",
}
# Those in which root sees whose each line is.
WITH_USERS = ("backups", "snapshots", "protected-resources")


def as_csv(who: Caller, report: str, query: str = "") -> list[dict[str, str]]:
    answer = who.get(f"/reports/{report}/{query}", accept="text/csv")
    assert answer.status == 200
    file_name = f"cpm_{report.replace('-', '_')}_report_"
    disposition = answer.headers["Content-Disposition"]
    assert re.fullmatch(rf'attachment; filename="{file_name}\d{{8}}_\d{{6}}\.csv"', disposition)
    return list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))


def keys(header: str) -> list[str]:
    words = (re.sub(r"\(|\)", "", word) for word in header.split(","))
    return [re.sub(r"[ /]", "_", word).lower() for word in words]


@pytest.mark.parametrize("report", HEADERS)
def test_a_file_has_its_header_also_with_no_lines(managed: Caller, report: str) -> None:
    header = HEADERS[report].removeprefix("User," if report in WITH_USERS else "")
    answer = managed.get(f"/reports/{report}/?to_time=2000-01-01", accept="text/csv")
    assert answer.body.decode().split("\r\n")[0] == header


@pytest.mark.parametrize("report", HEADERS)
def test_the_keys_of_a_line_are_the_words_of_its_columns(
    root: Caller, estate: Estate, cloud: Cloud, report: str
) -> None:
    estate.target("volumes", cloud.volume())
    estate.run()
    header = HEADERS[report]
    for who in (root, estate.caller):
        shown = header if who is root else header.removeprefix("User,")
        wanted = shown if report in WITH_USERS else header
        lines = who.get(f"/reports/{report}/").json
        assert lines
        assert all(list(line) == keys(wanted) for line in lines)
        assert len(as_csv(who, report)) == len(who.get(f"/reports/{report}/").json)
        assert list(as_csv(who, report)[0]) == wanted.split(",")


def test_runs_are_reported_with_letters_or_words(estate: Estate, cloud: Cloud) -> None:
    estate.target("volumes", cloud.volume())
    backup = estate.run()
    (line,) = estate.caller.get("/reports/backups/").json
    assert line == {
        "backup_id": backup["id"],
        "account": "prod",
        "aws_account_number": cloud.keys.account,
        "policy": "nightly",
        "status": "B",
        "dr_status": "N",
        "s3_copy_status": "N",
        "start_time": backup["start_time"],
        "finish_time": backup["finish_time"],
        "is_retry": False,
        "frozen": False,
        "deleted": False,
    }
    (row,) = as_csv(estate.caller, "backups")
    assert (row["Status"], row["DR Status"], row["Frozen"]) == ("Successful", "None", "No")
    assert row["Start Time"] == backup["start_time"]


def test_what_was_deleted_stays_in_the_reports_and_says_so(estate: Estate, cloud: Cloud) -> None:
    volume_id = cloud.volume(Name="alone")
    estate.target("volumes", volume_id)
    backup = estate.run()
    estate.caller.delete(f"/backups/{backup['id']}/snapshots/")
    drain()
    (run,) = estate.caller.get("/reports/backups/").json
    (snapshot,) = estate.caller.get("/reports/snapshots/").json
    assert (run["status"], run["deleted"]) == ("D", True)
    assert (snapshot["status"], snapshot["succeeded"]) == ("D", True)
    assert snapshot["deleted_at"] is not None
    (row,) = as_csv(estate.caller, "snapshots")
    assert (row["Status"], row["Succeeded"]) == ("Deleted", "Yes")


def test_snapshots_are_reported_with_the_instance_that_they_belong_to(
    estate: Estate, cloud: Cloud
) -> None:
    instance_id, volume_id = cloud.instance(volumes=2), cloud.volume(Name="alone")
    cloud.ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "Name", "Value": "web"}])
    estate.target("instances", instance_id)
    estate.target("volumes", volume_id)
    backup = estate.run()
    lines = estate.caller.get("/reports/snapshots/").json
    assert {line["backup_id"] for line in lines} == {backup["id"]}
    assert {line["snapshot_id"] for line in lines} == set(cloud.snapshots())
    of_volume = [line for line in lines if line["volume_db_cluster"] == volume_id]
    of_instance = [line for line in lines if line["instance"] == instance_id]
    assert (len(of_volume), len(of_instance)) == (1, 2)
    assert of_volume[0]["volume_db_cluster_name"] == "alone"
    assert (of_volume[0]["instance"], of_volume[0]["instance_name"]) == (None, None)
    assert {line["instance_name"] for line in of_instance} == {"web"}
    assert {(line["type"], line["region"]) for line in lines} == {("volumes", REGION)}


def test_a_resource_is_reported_once_with_all_that_protects_it(
    estate: Estate, cloud: Cloud
) -> None:
    volume_id, other_id = cloud.volume(Name="alone"), cloud.volume()
    schedule = create(
        estate.caller, "/schedules/", {"name": "daily", "every_unit": "D", "every_how_many": 1}
    )
    body = {"name": "weekly", "account": estate.account, "schedules": [schedule["id"]]}
    second = create(estate.caller, "/policies/", body)
    estate.target("volumes", volume_id)
    where = {"resource_id": volume_id, "region": REGION}
    create(estate.caller, f"/policies/{second['id']}/targets/volumes/", where)
    estate.target("volumes", other_id)
    before = estate.caller.get("/reports/protected-resources/").json
    assert [line["last_successful_backup"] for line in before] == [None, None]
    backup = estate.run()
    first, other = estate.caller.get("/reports/protected-resources/").json
    assert first == {
        "resource_id": volume_id,
        "resource_name": "alone",
        "type": "EBS volume",
        "region": REGION,
        "account": "prod",
        "policies": ["nightly", "weekly"],
        "schedules": ["daily"],
        "last_successful_backup": backup["start_time"],
    }
    assert (other["resource_id"], other["policies"]) == (other_id, ["nightly"])
    of_second = estate.caller.get(f"/reports/protected-resources/?policy={second['id']}").json
    assert [line["resource_id"] for line in of_second] == [volume_id]
    rows = as_csv(estate.caller, "protected-resources")
    assert [row["Policies"] for row in rows] == ["nightly; weekly", "nightly"]


def test_a_run_that_protects_a_resource_only_in_part_is_no_successful_backup_of_it(
    estate: Estate, cloud: Cloud
) -> None:
    good, bad = cloud.volume(), cloud.volume()
    for volume_id in (good, bad):
        estate.target("volumes", volume_id)
    cloud.simulator.config(fail=[bad])
    estate.caller.put(f"{estate.path}options/", {"retry_count": 0})
    estate.run()
    lines = estate.caller.get("/reports/protected-resources/").json
    protected = {line["resource_id"]: line["last_successful_backup"] for line in lines}
    assert protected[good] is not None
    assert protected[bad] is None


def test_reports_are_narrowed_by_time_account_policy_and_user(
    root: Caller, estate: Estate, cloud: Cloud
) -> None:
    estate.target("volumes", cloud.volume())
    start = estate.run()["start_time"]
    for report in ("backups", "snapshots"):
        path = f"/reports/{report}/"
        for query, count in (
            (f"from_time={start}", 1),
            (f"to_time={start}", 0),
            (f"account={estate.account}&policy={estate.policy}", 1),
            ("policy=4711", 0),
            ("account=4711", 0),
            (f"user={estate.caller.id}", 1),
            (f"user={root.id}", 0),
        ):
            assert len(root.get(f"{path}?{query}").json) == count, query
            assert len(as_csv(root, report, f"?{query}")) == count
        assert root.get(f"{path}?from_time=never").codes == {"from_time": ["invalid"]}
        page = root.get(f"{path}?page_size=1").json
        assert (page["count"], len(page["results"])) == (1, 1)


def test_everybody_sees_the_lines_of_his_own_and_root_those_of_managed_users(
    root: Caller, estate: Estate, cloud: Cloud, independent: Caller, stranger: Caller
) -> None:
    estate.target("volumes", cloud.volume())
    estate.run()
    for report in WITH_USERS:
        (line,) = root.get(f"/reports/{report}/").json
        assert line["user"] == "mia"
        assert len(estate.caller.get(f"/reports/{report}/").json) == 1
        for who in (independent, stranger):
            assert who.get(f"/reports/{report}/").json == []


def test_the_audit_trail_is_for_those_whose_it_is(
    root: Caller, managed: Caller, independent: Caller, delegate: Caller
) -> None:
    writer = caller(
        make_user("wanda", UserKind.DELEGATE, original_user=managed.user, allow_backup_changes=True)
    )
    schedule = {"name": "s", "every_unit": "D", "every_how_many": 1}
    writer.post("/schedules/", schedule)
    independent.post("/schedules/", schedule)
    Caller().post("/token/obtain/api_key/", {"api_key": "wrong"})

    def told(who: Caller) -> list[tuple[str, str, str]]:
        lines: list[dict[str, Any]] = who.get("/reports/audit/").json
        return [
            (line["user"], line["delegate"], line["object"])
            for line in lines
            if line["event_type"] == "create schedule"
        ]

    assert told(managed) == told(delegate) == told(root) == [("mia", "wanda", "s")]
    assert told(independent) == [("ines", "", "s")]
    assert any(line["user"] == "" for line in root.get("/reports/audit/").json)
    assert all(line["user"] == "mia" for line in managed.get("/reports/audit/").json)


COUNTS = (
    *("accounts", "policies", "protected_instances", "independent_ebs_gib"),
    *("rds_gib", "redshift_gib", "dynamodb_gib", "snapshots"),
)


def test_usage_has_a_line_for_each_user_that_one_sees(
    root: Caller, estate: Estate, cloud: Cloud, independent: Caller, delegate: Caller
) -> None:
    instance_id, volume_id = cloud.instance(volumes=2), cloud.volume(size_gib=7)
    estate.target("instances", instance_id)
    estate.target("volumes", volume_id)
    body = {"name": "weekly", "account": estate.account}
    second = create(estate.caller, "/policies/", body)["id"]
    where = {"resource_id": volume_id, "region": REGION}
    create(estate.caller, f"/policies/{second}/targets/volumes/", where)
    estate.run()

    (line,) = estate.caller.get("/reports/usage/").json
    counts = dict(zip(COUNTS, (1, 2, 1, 7, 0, 0, 0, 3), strict=True))
    who = {"user_id": estate.caller.id, "user_name": "mia", "user_type": "M"}
    assert line == {"timestamp": line["timestamp"], **who, **counts}
    assert delegate.get("/reports/usage/").json[0]["user_name"] == "mia"
    lines = root.get("/reports/usage/").json
    assert [each["user_name"] for each in lines] == ["root", "mia", "ines"]
    assert all(each[name] == 0 for each in lines[::2] for name in COUNTS)
    (only,) = root.get(f"/reports/usage/?user={independent.id}").json
    assert only["user_name"] == "ines"
    header = "Timestamp,User ID,User Name,User Type,Accounts,Policies,Protected Instances,"
    header += "Independent EBS (GiB),RDS (GiB),Redshift (GiB),DynamoDB (GiB),Snapshots"
    rows = as_csv(root, "usage")
    assert list(rows[0]) == header.split(",")
    assert [row["User Type"] for row in rows] == ["Root", "Managed", "Independent"]


def test_anonymous_usage_says_the_same_without_names(root: Caller, estate: Estate) -> None:
    answer = root.get("/reports/usage/anonymized/", accept="text/csv")
    name = answer.headers["Content-Disposition"].split('"')[1]
    assert name.startswith("cpm_usage_anonymized_report_")
    assert "mia" not in answer.body.decode()
    for line in root.get("/reports/usage/anonymized/").json:
        assert list(line) == ["timestamp", "user_type", *COUNTS]


def test_the_first_version_reports_no_snapshots_of_types_that_came_later(
    estate: Estate, cloud: Cloud
) -> None:
    table = "orders"
    cloud.client("dynamodb").create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    estate.target("dynamodb_tables", table)
    estate.target("volumes", cloud.volume())
    estate.run()
    path = "/reports/snapshots/"
    for version, types in (("1.0", {"volumes"}), ("1.1", {"volumes", "dynamodb_tables"})):
        lines = estate.caller.using(version).get(path).json
        assert {line["type"] for line in lines} == types
