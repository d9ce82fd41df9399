"""RDS databases and clusters over the API: protected, listed, deleted, and brought back."""

from typing import Any

import pytest

from cpm.models.snapshots import Snapshot
from cpm.models.users import User
from tests.api.nouns.cloud import REGION, Cloud
from tests.api.nouns.estate import Estate, create, drain

ELSEWHERE = "eu-west-1"


def backed_up(estate: Estate, collection: str, name: str) -> Any:
    """Back a database up; returns its snapshot."""
    estate.target(collection, name)
    backup = estate.run()
    assert backup["status"] == "B"
    (snapshot,) = estate.caller.get(f"/backups/{backup['id']}/snapshots/{collection}/").json
    return snapshot


def path_of(snapshot: Any, collection: str = "rds_databases") -> str:
    return f"/backups/{snapshot['backup']}/snapshots/{collection}/{snapshot['id']}/"


def recovered(estate: Estate, path: str, asked: dict[str, Any]) -> Any:
    """The record of a recovery that has come to its end."""
    recovery = create(estate.caller, f"{path}recover/", asked)
    assert recovery["status"] == "P"
    drain()
    return estate.caller.get(f"/recoveries/{recovery['id']}/").json


def database_of(cloud: Cloud, name: str, region: str = REGION) -> Any:
    rds = cloud.client("rds", region)
    (found,) = rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
    return found


def cluster_of(cloud: Cloud, name: str) -> Any:
    rds = cloud.client("rds")
    (found,) = rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"]
    return found


def names(cloud: Cloud) -> set[str]:
    """All databases and clusters."""
    rds = cloud.client("rds")
    instances = {
        each["DBInstanceIdentifier"] for each in rds.describe_db_instances()["DBInstances"]
    }
    return instances | {
        each["DBClusterIdentifier"] for each in rds.describe_db_clusters()["DBClusters"]
    }


def in_aws(cloud: Cloud, region: str = REGION) -> list[Any]:
    """The snapshots of both kinds that somebody asked for."""
    rds = cloud.client("rds", region)
    return [
        *rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"],
        *rds.describe_db_cluster_snapshots(SnapshotType="manual")["DBClusterSnapshots"],
    ]


def tags_of(described: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in described["TagList"]}


def drop(cloud: Cloud, name: str) -> None:
    """Delete a database."""
    rds = cloud.client("rds")
    rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)


@pytest.mark.parametrize(
    ("collection", "alias"), [("rds_databases", "db_instance"), ("rds_clusters", "cluster")]
)
def test_a_target_is_shown_as_aws_has_it(
    estate: Estate, cloud: Cloud, collection: str, alias: str
) -> None:
    name = cloud.database() if collection == "rds_databases" else cloud.aurora()
    path = f"{estate.path}targets/{collection}/"
    target = create(estate.caller, path, {alias: name, "region": REGION})
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
    assert estate.caller.post(path, {alias: name, "region": REGION}).codes == {
        "resource_id": ["unique"]
    }
    for wrong in ("nothing", "No Name"):
        assert estate.caller.post(path, {alias: wrong, "region": REGION}).codes == {
            "resource_id": ["does_not_exist"]
        }
    one = f"{path}{target['id']}/"
    assert estate.caller.put(one, {}).status == 405
    # The guide has clusters since 1.1.0.
    expected = 200 if collection == "rds_databases" else 404
    assert estate.caller.using("1.0.0").get(path).status == expected
    assert estate.caller.delete(one).status == 204
    assert estate.caller.get(path).json == []


def test_a_member_is_refused_naming_its_cluster(estate: Estate, cloud: Cloud) -> None:
    cloud.aurora("shop")
    body = {"db_instance": "shop-1", "region": REGION}
    answer = estate.caller.post(f"{estate.path}targets/rds_databases/", body)
    assert answer.codes == {"resource_id": ["invalid"]}
    assert "shop-1 is a member of cluster shop: protect the cluster" in str(answer.json)


def test_a_member_that_was_not_checked_fails_and_says_why(estate: Estate, cloud: Cloud) -> None:
    cloud.aurora("shop")
    body = {"db_instance": "shop-1", "region": REGION}
    create(estate.caller, f"{estate.path}targets/rds_databases/?validate=false", body)
    backup = estate.run()
    assert backup["status"] == "F"
    lines = [line["message"] for line in estate.caller.get(f"/backups/{backup['id']}/logs/").json]
    assert any("shop-1" in line and "cluster shop" in line for line in lines)


def test_databases_and_clusters_count_together_by_their_size(estate: Estate, cloud: Cloud) -> None:
    User.objects.filter(pk=estate.caller.id).update(max_rds_gib=20)
    estate.target("rds_databases", cloud.database())
    body = {"cluster": cloud.aurora(), "region": REGION}
    answer = estate.caller.post(f"{estate.path}targets/rds_clusters/", body)
    assert answer.codes == {"non_field_errors": ["limit_exceeded"]}
    assert "max_rds_gib: 20 are allowed, this would make 21" in str(answer.json)


@pytest.mark.parametrize("collection", ["rds_databases", "rds_clusters"])
def test_a_snapshot_is_made_shown_and_deleted(
    estate: Estate, cloud: Cloud, collection: str
) -> None:
    name = cloud.database() if collection == "rds_databases" else cloud.aurora()
    snapshot = backed_up(estate, collection, name)
    (made,) = in_aws(cloud)
    identifier = made.get("DBSnapshotIdentifier") or made["DBClusterSnapshotIdentifier"]
    assert snapshot == {
        "id": snapshot["id"],
        "backup": snapshot["backup"],
        "snapshot_id": identifier,
        "status": "S",
        "region": REGION,
        "account": estate.account,
        "resource_id": name,
        "resource_name": "sales",
        "start_time": snapshot["start_time"],
        "finish_time": snapshot["finish_time"],
        "deleted_time": None,
        "size_gib": made["AllocatedStorage"],
        "encrypted": False,
        "progress": 100,
        "error": None,
    }
    carried = tags_of(made)
    assert carried["team"] == "red"
    assert carried["cpm_policy_name"] == "nightly"
    assert carried["cpm_backup_id"] == str(snapshot["backup"])
    assert carried["cpm_token"] in identifier
    (listed,) = estate.caller.get(f"/backups/{snapshot['backup']}/snapshots/").json
    assert listed == snapshot | {"snapshot_type": collection}
    one = path_of(snapshot, collection)
    assert estate.caller.get(one).json == snapshot
    assert estate.caller.delete(one).status == 204
    assert in_aws(cloud) == []
    assert estate.caller.get(f"/backups/{snapshot['backup']}/").json["status"] == "D"


def test_a_database_that_is_gone_comes_back_under_its_name(estate: Estate, cloud: Cloud) -> None:
    snapshot = backed_up(estate, "rds_databases", cloud.database(Port=3307))
    was = database_of(cloud, "orders")
    drop(cloud, "orders")
    done = recovered(estate, path_of(snapshot), {})
    assert (done["status"], done["error"], done["recovery_type"]) == ("S", None, "R")
    assert done["result_resource_ids"] == [done["result_resource_id"]] == ["orders"]
    now = database_of(cloud, "orders")
    for fact in ("DBInstanceClass", "Engine", "AllocatedStorage", "StorageType", "MasterUsername"):
        assert now[fact] == was[fact]
    assert now["Endpoint"]["Port"] == 3307
    assert tags_of(was).items() <= tags_of(now).items()
    lines = estate.caller.get(f"/recoveries/{done['id']}/logs/").json
    assert lines[-1]["message"] == "Recovered as orders."


def tied_database(cloud: Cloud) -> str:
    """A database with a directory, monitoring, insights and two roles."""
    arn = f"arn:aws:iam::{cloud.number}:role/"
    name = cloud.database(
        Domain="d-1234567890",
        DomainIAMRoleName="directory",
        MonitoringInterval=15,
        MonitoringRoleArn=f"{arn}monitoring",
        EnablePerformanceInsights=True,
        PerformanceInsightsRetentionPeriod=93,
    )
    for feature in ("S3_INTEGRATION", "LAMBDA"):
        named = {"RoleArn": f"{arn}{feature.lower()}", "FeatureName": feature}
        cloud.client("rds").add_role_to_db_instance(DBInstanceIdentifier=name, **named)
    return name


TIES = (
    *("DomainMemberships", "MonitoringInterval", "MonitoringRoleArn", "AssociatedRoles"),
    *("PerformanceInsightsEnabled", "PerformanceInsightsRetentionPeriod"),
)


def test_a_database_is_tied_to_other_services_as_it_was(estate: Estate, cloud: Cloud) -> None:
    snapshot = backed_up(estate, "rds_databases", tied_database(cloud))
    was = database_of(cloud, "orders")
    drop(cloud, "orders")
    done = recovered(estate, path_of(snapshot), {})
    assert (done["status"], done["error"]) == ("S", None)
    now = database_of(cloud, "orders")
    assert {name: now[name] for name in TIES} == {name: was[name] for name in TIES}
    assert len(now["AssociatedRoles"]) == 2


def test_a_tie_that_aws_refuses_costs_neither_the_database_nor_the_others(
    estate: Estate, cloud: Cloud
) -> None:
    snapshot = backed_up(estate, "rds_databases", tied_database(cloud))
    wrong = {"kind": "denied", "code": "DomainNotFoundFault", "times": 1}
    cloud.simulator.faults([{"op": "rds:ModifyDBInstance", **wrong}])
    done = recovered(estate, path_of(snapshot), {"db_instance_identifier": "again"})
    assert done["status"] == "A"
    assert "rds:ModifyDBInstance DomainNotFoundFault" in done["error"]
    now = database_of(cloud, "again")
    assert len(now["AssociatedRoles"]) == 2
    assert now["MonitoringInterval"] == 15


def test_a_cluster_is_tied_to_other_services_as_it_was(estate: Estate, cloud: Cloud) -> None:
    name = cloud.aurora(Domain="d-1234567890", DomainIAMRoleName="directory")
    rds, arn = cloud.client("rds"), f"arn:aws:iam::{cloud.number}:role/"
    named = {"RoleArn": f"{arn}lambda", "FeatureName": "Lambda"}
    rds.add_role_to_db_cluster(DBClusterIdentifier=name, **named)
    watched = {"MonitoringInterval": 60, "MonitoringRoleArn": f"{arn}monitoring"}
    rds.modify_db_instance(DBInstanceIdentifier="shop-2", **watched)
    was = cluster_of(cloud, name)
    snapshot = backed_up(estate, "rds_clusters", name)
    done = recovered(estate, path_of(snapshot, "rds_clusters"), {"cluster_identifier": "again"})
    assert (done["status"], done["error"]) == ("S", None)
    now = cluster_of(cloud, "again")
    for fact in ("DomainMemberships", "AssociatedRoles"):
        assert now[fact] == was[fact]
        assert len(now[fact]) == 1
    members = [database_of(cloud, each["DBInstanceIdentifier"]) for each in now["DBClusterMembers"]]
    assert [each["MonitoringInterval"] for each in members] == [0, 60]


def test_a_taken_name_is_refused_if_asked_for_and_else_another_is_found(
    estate: Estate, cloud: Cloud
) -> None:
    snapshot = backed_up(estate, "rds_databases", cloud.database())
    path = path_of(snapshot)
    taken = {"db_instance_identifier": "orders"}
    assert estate.caller.post(f"{path}recover/", taken).codes == {
        "db_instance_identifier": ["unique"]
    }
    assert estate.caller.get("/recoveries/").json == []
    first, second = (recovered(estate, path, {})["result_resource_id"] for _ in range(2))
    assert first.startswith("orders-")
    assert second.startswith("orders-")
    asked = {"db_instance_identifier": "mine"}
    assert recovered(estate, path, asked)["result_resource_id"] == "mine"
    assert names(cloud) == {"orders", first, second, "mine"}


def test_options_override_the_original(estate: Estate, cloud: Cloud) -> None:
    snapshot = backed_up(estate, "rds_databases", cloud.database())
    group = cloud.ec2.create_security_group(GroupName="db", Description="x")["GroupId"]
    asked = {
        "db_instance_class": "db.r5.xlarge",
        "multi_az": "yes",
        "storage_type": "io1",
        "iops": "2000",
        "port": 4406,
        "publicly_accessible": True,
        "vpc_security_groups": [group],
        "deletion_protection": True,
        "auto_minor_version_upgrade": False,
        "preserve_tags": "no",
        "additional_tags": {"ticket": "4711"},
    }
    done = recovered(estate, path_of(snapshot), asked)
    assert done["status"] == "S"
    now = database_of(cloud, done["result_resource_id"])
    assert (now["DBInstanceClass"], now["MultiAZ"]) == ("db.r5.xlarge", True)
    assert (now["StorageType"], now["Iops"], now["Endpoint"]["Port"]) == ("io1", 2000, 4406)
    assert [each["VpcSecurityGroupId"] for each in now["VpcSecurityGroups"]] == [group]
    assert (now["PubliclyAccessible"], now["DeletionProtection"]) == (True, True)
    assert now["AutoMinorVersionUpgrade"] is False
    carried = tags_of(now)
    assert carried["ticket"] == "4711"
    assert "team" not in carried


def test_what_can_be_seen_to_be_wrong_makes_no_record(estate: Estate, cloud: Cloud) -> None:
    snapshot = backed_up(estate, "rds_databases", cloud.database())
    path = f"{path_of(snapshot)}recover/"
    for asked, codes in (
        ({"db_instance_identifier": "a--b"}, {"db_instance_identifier": ["invalid"]}),
        ({"db_instance_identifier": "x" * 64}, {"db_instance_identifier": ["max_length"]}),
        ({"port": 80}, {"port": ["min_value"]}),
        ({"storage_type": "gp9"}, {"storage_type": ["invalid_choice"]}),
        ({"db_instance_class": "m5.large"}, {"db_instance_class": ["invalid_choice"]}),
        ({"db_subnet_group": "none"}, {"db_subnet_group": ["does_not_exist"]}),
        ({"parameter_group": "none"}, {"parameter_group": ["does_not_exist"]}),
        ({"option_group": "none"}, {"option_group": ["does_not_exist"]}),
        ({"vpc_security_groups": ["sg-1"]}, {"vpc_security_groups": ["does_not_exist"]}),
        ({"region": ELSEWHERE}, {"non_field_errors": ["does_not_exist"]}),
    ):
        assert estate.caller.post(path, asked).codes == codes
    assert estate.caller.delete(path_of(snapshot)).status == 204
    assert estate.caller.post(path, {}).codes == {"non_field_errors": ["invalid"]}
    assert estate.caller.get("/recoveries/").json == []


def test_a_cluster_comes_back_with_its_members(estate: Estate, cloud: Cloud) -> None:
    snapshot = backed_up(estate, "rds_clusters", cloud.aurora("shop", members=2))
    for member in ("shop-1", "shop-2"):
        drop(cloud, member)
    rds = cloud.client("rds")
    rds.delete_db_cluster(DBClusterIdentifier="shop", SkipFinalSnapshot=True)
    done = recovered(estate, path_of(snapshot, "rds_clusters"), {})
    assert (done["status"], done["error"], done["recovery_type"]) == ("S", None, "A")
    assert done["result_resource_ids"] == [done["result_resource_id"]] == ["shop"]
    assert names(cloud) == {"shop", "shop-1", "shop-2"}
    roles = {
        each["DBInstanceIdentifier"]: each["IsClusterWriter"]
        for each in cluster_of(cloud, "shop")["DBClusterMembers"]
    }
    assert roles == {"shop-1": True, "shop-2": False}


def test_a_cluster_is_recovered_under_other_names(estate: Estate, cloud: Cloud) -> None:
    snapshot = backed_up(estate, "rds_clusters", cloud.aurora("shop", members=1))
    path = path_of(snapshot, "rds_clusters")
    for field, taken in (("cluster_identifier", "shop"), ("instance_identifier", "shop-1")):
        assert estate.caller.post(f"{path}recover/", {field: taken}).codes == {field: ["unique"]}
    asked = {
        "cluster_identifier": "again",
        "instance_identifier": "again-1",
        "instance_class": "db.r5.large",
        "port": 4406,
    }
    assert recovered(estate, path, asked)["result_resource_id"] == "again"
    now = cluster_of(cloud, "again")
    assert now["Port"] == 4406
    (member,) = now["DBClusterMembers"]
    assert member["DBInstanceIdentifier"] == "again-1"
    assert database_of(cloud, "again-1")["DBInstanceClass"] == "db.r5.large"


def test_a_cluster_that_gets_no_writer_is_taken_back(estate: Estate, cloud: Cloud) -> None:
    snapshot = backed_up(estate, "rds_clusters", cloud.aurora("shop", DeletionProtection=True))
    before = names(cloud)
    rule = {"op": "rds:CreateDBInstance", "kind": "denied", "code": "InvalidParameterCombination"}
    cloud.simulator.faults([rule])
    done = recovered(estate, path_of(snapshot, "rds_clusters"), {})
    assert (done["status"], done["result_resource_ids"]) == ("F", [])
    assert "rds:CreateDBInstance InvalidParameterCombination" in done["error"]
    assert names(cloud) == before


def test_a_copy_in_another_region_is_recovered_there(estate: Estate, cloud: Cloud) -> None:
    snapshot = backed_up(estate, "rds_databases", cloud.database())
    (original,) = in_aws(cloud)
    cloud.client("rds", ELSEWHERE).copy_db_snapshot(
        SourceDBSnapshotIdentifier=original["DBSnapshotArn"],
        TargetDBSnapshotIdentifier="copy-1",
        SourceRegion=REGION,
    )
    row = Snapshot.objects.get(pk=snapshot["id"])
    row.pk, row.source_snapshot_id, row.collection = None, snapshot["id"], "dr_rds_databases"
    row.region, row.aws_ref = ELSEWHERE, "copy-1"
    row.save(force_insert=True)
    path = f"/backups/{snapshot['backup']}/snapshots/dr_rds_databases/"
    (copy,) = estate.caller.get(path).json
    assert (copy["region"], copy["source_snapshot"]) == (ELSEWHERE, snapshot["id"])
    done = recovered(estate, f"{path}{copy['id']}/", {})
    assert (done["status"], done["region"]) == ("S", ELSEWHERE)
    now = database_of(cloud, "orders", ELSEWHERE)
    assert now["AvailabilityZone"].startswith(ELSEWHERE)
    assert estate.caller.delete(f"{path}{copy['id']}/").status == 204
    assert in_aws(cloud, ELSEWHERE) == []
    assert len(in_aws(cloud)) == 1
