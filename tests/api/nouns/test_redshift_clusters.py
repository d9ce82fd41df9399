"""Redshift clusters over the API: protected, listed, deleted, and brought back."""

from typing import Any

from cpm.engine import queue, sweep
from cpm.models.users import User
from tests.api.nouns.cloud import REGION, Cloud
from tests.api.nouns.estate import Estate, connect, create, drain


def backed_up(estate: Estate, cluster: str) -> tuple[int, Any]:
    """Back the cluster up; returns the backup's id and its snapshot."""
    estate.target("redshift_clusters", cluster)
    backup = estate.run()
    assert backup["status"] == "B"
    (snapshot,) = estate.caller.get(f"/backups/{backup['id']}/snapshots/redshift_clusters/").json
    return backup["id"], snapshot


def path_of(snapshot: Any) -> str:
    return f"/backups/{snapshot['backup']}/snapshots/redshift_clusters/{snapshot['id']}/"


def recovered(estate: Estate, snapshot: Any, asked: dict[str, Any]) -> Any:
    """The record of a recovery that has come to its end."""
    recovery = create(estate.caller, f"{path_of(snapshot)}recover/", asked)
    assert (recovery["recovery_type"], recovery["status"]) == ("H", "P")
    drain()
    return estate.caller.get(f"/recoveries/{recovery['id']}/").json


def work() -> None:
    """Do what is due now, and wait for nothing."""
    sweep.sweep()
    while queue.run_next():
        pass


def cluster_of(cloud: Cloud, name: str) -> Any:
    found = cloud.client("redshift").describe_clusters(ClusterIdentifier=name)["Clusters"]
    return found[0] | {"Tags": {tag["Key"]: tag["Value"] for tag in found[0]["Tags"]}}


def clusters(cloud: Cloud) -> set[str]:
    found = cloud.client("redshift").describe_clusters()["Clusters"]
    return {cluster["ClusterIdentifier"] for cluster in found}


def in_aws(cloud: Cloud) -> Any:
    found = cloud.client("redshift").describe_cluster_snapshots(SnapshotType="manual")
    return found["Snapshots"]


def test_a_target_is_shown_as_aws_has_it(estate: Estate, cloud: Cloud) -> None:
    name = cloud.warehouse()
    path = f"{estate.path}targets/redshift_clusters/"
    target = create(estate.caller, path, {"cluster": name, "region": REGION})
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
    assert estate.caller.post(path, {"cluster": name, "region": REGION}).codes == {
        "resource_id": ["unique"]
    }
    for wrong in ("dw-2", "No Name"):
        assert estate.caller.post(path, {"cluster": wrong, "region": REGION}).codes == {
            "resource_id": ["does_not_exist"]
        }
    one = f"{path}{target['id']}/"
    assert estate.caller.put(one, {}).status == 405
    assert estate.caller.using("1.0.0").get(path).status == 404
    assert estate.caller.delete(one).status == 204
    assert estate.caller.get(path).json == []


def test_clusters_count_by_their_size(estate: Estate, cloud: Cloud) -> None:
    User.objects.filter(pk=estate.caller.id).update(max_redshift_gib=400)
    estate.target("redshift_clusters", cloud.warehouse("two-nodes"))
    body = {"cluster": cloud.warehouse("two-more"), "region": REGION}
    answer = estate.caller.post(f"{estate.path}targets/redshift_clusters/", body)
    assert answer.codes == {"non_field_errors": ["limit_exceeded"]}
    assert "max_redshift_gib: 400 are allowed, this would make 640" in str(answer.json)


def test_a_snapshot_is_made_shown_and_deleted(estate: Estate, cloud: Cloud) -> None:
    name = cloud.warehouse()
    backup, snapshot = backed_up(estate, name)
    (made,) = in_aws(cloud)
    assert snapshot == {
        "id": snapshot["id"],
        "backup": backup,
        "snapshot_id": made["SnapshotIdentifier"],
        "status": "S",
        "region": REGION,
        "account": estate.account,
        "resource_id": name,
        "resource_name": "sales",
        "start_time": snapshot["start_time"],
        "finish_time": snapshot["finish_time"],
        "deleted_time": None,
        "size_gib": 1,
        "encrypted": False,
        "progress": 100,
        "error": None,
    }
    carried = {tag["Key"]: tag["Value"] for tag in made["Tags"]}
    assert carried["team"] == "red"
    assert (carried["cpm_policy_name"], carried["cpm_backup_id"]) == ("nightly", str(backup))
    assert carried["cpm_token"] in made["SnapshotIdentifier"]
    (listed,) = estate.caller.get(f"/backups/{backup}/snapshots/").json
    assert listed == snapshot | {"snapshot_type": "redshift_clusters"}
    assert estate.caller.get(path_of(snapshot)).json == snapshot
    assert estate.caller.delete(path_of(snapshot)).status == 204
    assert in_aws(cloud) == []
    assert estate.caller.get(f"/backups/{backup}/").json["status"] == "D"


def test_a_cluster_that_is_gone_comes_back_under_its_name(estate: Estate, cloud: Cloud) -> None:
    name = cloud.warehouse()
    _, snapshot = backed_up(estate, name)
    was = cluster_of(cloud, name)
    cloud.client("redshift").delete_cluster(ClusterIdentifier=name, SkipFinalClusterSnapshot=True)
    done = recovered(estate, snapshot, {})
    assert (done["status"], done["error"]) == ("S", None)
    assert done["result_resource_ids"] == [done["result_resource_id"]] == [name]
    now = cluster_of(cloud, name)
    for fact in ("NodeType", "NumberOfNodes", "DBName", "MasterUsername", "AvailabilityZone"):
        assert now[fact] == was[fact]
    assert was["Tags"].items() <= now["Tags"].items()
    lines = estate.caller.get(f"/recoveries/{done['id']}/logs/").json
    assert lines[-1]["message"] == f"Recovered as {name}."


def test_a_taken_name_is_refused_if_asked_for_and_else_another_is_found(
    estate: Estate, cloud: Cloud
) -> None:
    name = cloud.warehouse()
    _, snapshot = backed_up(estate, name)
    answer = estate.caller.post(f"{path_of(snapshot)}recover/", {"cluster_identifier": name})
    assert answer.codes == {"cluster_identifier": ["unique"]}
    assert estate.caller.get("/recoveries/").json == []
    assert recovered(estate, snapshot, {})["result_resource_id"] == "dw-1-2"
    assert recovered(estate, snapshot, {})["result_resource_id"] == "dw-1-3"
    asked = {"cluster_identifier": "mine"}
    assert recovered(estate, snapshot, asked)["result_resource_id"] == "mine"
    assert clusters(cloud) == {name, "dw-1-2", "dw-1-3", "mine"}


def test_options_override_the_original(estate: Estate, cloud: Cloud) -> None:
    redshift = cloud.client("redshift")
    subnets = cloud.ec2.describe_subnets()["Subnets"]
    redshift.create_cluster_subnet_group(
        ClusterSubnetGroupName="inner",
        Description="inner",
        SubnetIds=[subnet["SubnetId"] for subnet in subnets],
    )
    redshift.create_cluster_parameter_group(
        ParameterGroupName="fast", ParameterGroupFamily="redshift-1.0", Description="fast"
    )
    group = cloud.ec2.create_security_group(
        GroupName="analysts", Description="analysts", VpcId=subnets[0]["VpcId"]
    )["GroupId"]
    _, snapshot = backed_up(estate, cloud.warehouse())
    asked = {
        "cluster_identifier": "other",
        "node_type": "ra3.4xlarge",
        "port": "5440",
        "availability_zone": f"{REGION}b",
        "subnet_group": "inner",
        "parameter_group": "fast",
        "publicly_accessible": "yes",
        "allow_version_upgrade": False,
        "vpc_security_groups": [group],
        "preserve_tags": False,
        "additional_tags": {"ticket": "4711"},
    }
    done = recovered(estate, snapshot, asked)
    assert (done["status"], done["error"]) == ("S", None)
    made = cluster_of(cloud, "other")
    assert (made["NodeType"], made["Endpoint"]["Port"]) == ("ra3.4xlarge", 5440)
    assert (made["AvailabilityZone"], made["ClusterSubnetGroupName"]) == (f"{REGION}b", "inner")
    assert made["ClusterParameterGroups"][0]["ParameterGroupName"] == "fast"
    assert (made["PubliclyAccessible"], made["AllowVersionUpgrade"]) == (True, False)
    assert [each["VpcSecurityGroupId"] for each in made["VpcSecurityGroups"]] == [group]
    assert made["Tags"]["ticket"] == "4711"
    assert not made["Tags"].keys() & {"team", "Name"}


def test_what_can_be_seen_to_be_wrong_makes_no_record(estate: Estate, cloud: Cloud) -> None:
    _, snapshot = backed_up(estate, cloud.warehouse())
    path = f"{path_of(snapshot)}recover/"
    for asked, codes in (
        ({"cluster_identifier": "Not-lower"}, {"cluster_identifier": ["invalid"]}),
        ({"cluster_identifier": "x" * 64}, {"cluster_identifier": ["max_length"]}),
        ({"port": 80}, {"port": ["min_value"]}),
        ({"node_type": "ra3.4xlarge", "port": 1234}, {"port": ["invalid"]}),
        ({"node_type": "m5.large"}, {"node_type": ["invalid_choice"]}),
        ({"subnet_group": "none"}, {"subnet_group": ["does_not_exist"]}),
        ({"parameter_group": "none"}, {"parameter_group": ["does_not_exist"]}),
        ({"vpc_security_groups": ["sg-1"]}, {"vpc_security_groups": ["does_not_exist"]}),
        ({"region": "eu-west-1"}, {"non_field_errors": ["does_not_exist"]}),
    ):
        assert estate.caller.post(path, asked).codes == codes
    assert estate.caller.delete(path_of(snapshot)).status == 204
    assert estate.caller.post(path, {}).codes == {"non_field_errors": ["invalid"]}
    assert estate.caller.get("/recoveries/").json == []


def test_a_cluster_that_cannot_be_tagged_is_taken_back(estate: Estate, cloud: Cloud) -> None:
    name = cloud.warehouse()
    _, snapshot = backed_up(estate, name)
    cloud.simulator.faults([{"op": "redshift:CreateTags", "kind": "denied"}])
    done = recovered(estate, snapshot, {})
    assert (done["status"], done["result_resource_ids"]) == ("F", [])
    assert "redshift:CreateTags AccessDenied" in done["error"]
    assert clusters(cloud) == {name}


def test_a_full_quota_is_waited_for(estate: Estate, cloud: Cloud) -> None:
    cloud.simulator.config(limits={"redshift_snapshots": 1})
    try:
        _, snapshot = backed_up(estate, cloud.warehouse())
        backup = create(estate.caller, f"{estate.path}backups/", {})
        work()
        assert estate.caller.get(f"/backups/{backup['id']}/").json["status"] == "P"
        assert estate.caller.delete(path_of(snapshot)).status == 204
        drain()
        assert estate.caller.get(f"/backups/{backup['id']}/").json["status"] == "B"
    finally:
        cloud.simulator.config(limits={"redshift_snapshots": 20})


def test_another_account_recovers_what_is_shared_with_it(
    estate: Estate, cloud: Cloud, other_cloud: Cloud
) -> None:
    _, snapshot = backed_up(estate, cloud.warehouse())
    vault = connect(estate.caller, other_cloud, name="vault")["id"]
    path = f"{path_of(snapshot)}recover/"
    asked = {"account": vault}
    assert estate.caller.post(path, asked).codes == {"non_field_errors": ["does_not_exist"]}
    cloud.client("redshift").authorize_snapshot_access(
        SnapshotIdentifier=snapshot["snapshot_id"], AccountWithRestoreAccess=other_cloud.number
    )
    assert recovered(estate, snapshot, asked)["result_resource_id"] == "dw-1"
    made = cluster_of(other_cloud, "dw-1")
    assert (made["DBName"], made["Tags"]["team"]) == ("shop", "red")
    assert estate.caller.delete(path_of(snapshot)).status == 204
    assert in_aws(cloud) == []
