"""The Resource Groups Tagging API: what is tagged, of all services, in AWS's pages."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from cpm.simulator.process import Credentials, Simulator
from tests.simulator.conftest import Clients
from tests.simulator.databases import make_cluster, make_instance, tag_list
from tests.simulator.expect import refused
from tests.simulator.resources import make_snapshot, make_volume, run_instance, tagged
from tests.simulator.test_redshift import make_cluster as make_warehouse

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

BACKUP = [{"Key": "cpm backup"}]
GOLD = tag_list(**{"cpm backup": "gold", "Name": "mine"})


@pytest.fixture
def tagging(client: Clients, account: Credentials) -> Any:
    """The tagging API in the test's own account."""
    return client("resourcegroupstaggingapi", account)


def found(tagging: Any, **asked: Any) -> dict[str, dict[str, str]]:
    """The tags of what the first page lists, by the end of the ARN."""
    listed = tagging.get_resources(**asked)["ResourceTagMappingList"]
    return {
        each["ResourceARN"].split(":", 5)[-1]: {tag["Key"]: tag["Value"] for tag in each["Tags"]}
        for each in listed
    }


def test_resources_of_six_kinds_are_listed_with_all_their_tags(
    client: Clients, account: Credentials, ec2: "EC2Client", tagging: Any
) -> None:
    instance_id = run_instance(ec2)["InstanceId"]
    volume_id = make_volume(ec2, TagSpecifications=tagged("volume", Name="mine"))
    ec2.create_tags(Resources=[instance_id, volume_id], Tags=GOLD)
    rds, redshift = client("rds", account), client("redshift", account)
    make_instance(rds, Tags=GOLD)
    make_cluster(rds, Tags=GOLD)
    make_warehouse(redshift, Tags=GOLD)
    client("dynamodb", account).create_table(
        TableName="orders",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        Tags=GOLD,
    )
    make_instance(rds, "untagged")
    expected = {"cpm backup": "gold", "Name": "mine"}
    assert found(tagging, TagFilters=BACKUP) == {
        f"instance/{instance_id}": expected,
        f"volume/{volume_id}": expected,
        "db:db-1": expected,
        "cluster:cluster-1": expected,
        "cluster:dw-1": expected,
        "table/orders": expected,
    }
    place = f"us-east-1:{account.account}"
    listed = tagging.get_resources(ResourceTypeFilters=["rds:db"], TagFilters=BACKUP)
    (only,) = listed["ResourceTagMappingList"]
    assert only["ResourceARN"] == f"arn:aws:rds:{place}:db:db-1"
    assert listed["PaginationToken"] == ""


def test_filters_by_tag_are_anded_and_values_of_one_are_alternatives(
    ec2: "EC2Client", tagging: Any
) -> None:
    one, two, three = (f"volume/{make_volume(ec2)}" for _ in range(3))
    for name, tags in ((one, {"a": "1", "b": "1"}), (two, {"a": "2"}), (three, {"b": "1"})):
        ec2.create_tags(Resources=[name.partition("/")[2]], Tags=tag_list(**tags))
    assert set(found(tagging, TagFilters=[{"Key": "a"}])) == {one, two}
    assert set(found(tagging, TagFilters=[{"Key": "a"}, {"Key": "b"}])) == {one}
    assert set(found(tagging, TagFilters=[{"Key": "a", "Values": ["2", "3"]}])) == {two}
    assert found(tagging, TagFilters=[{"Key": "a", "Values": ["3"]}]) == {}


def test_filters_by_type_name_a_service_or_a_type_of_it(ec2: "EC2Client", tagging: Any) -> None:
    volume_id = make_volume(ec2)
    snapshot_id = make_snapshot(ec2, volume_id)
    ec2.create_tags(Resources=[volume_id, snapshot_id], Tags=GOLD)
    of_volumes = found(tagging, TagFilters=BACKUP, ResourceTypeFilters=["ec2:volume", "rds:db"])
    assert set(of_volumes) == {f"volume/{volume_id}"}
    of_ec2 = found(tagging, TagFilters=BACKUP, ResourceTypeFilters=["ec2"])
    assert set(of_ec2) == {f"volume/{volume_id}", f"snapshot/{snapshot_id}"}
    assert found(tagging, TagFilters=BACKUP, ResourceTypeFilters=["s3"]) == {}


def test_pages_go_on_where_the_last_one_ended_and_may_be_asked_for_again(
    simulator: Simulator, account: Credentials, ec2: "EC2Client", tagging: Any
) -> None:
    simulator.seed(account=account.account, standalone=250, tags={"cpm backup": "gold"})
    seen: list[str] = []
    token = ""
    for size in (100, 100, 50):
        asked = {"TagFilters": BACKUP, "ResourcesPerPage": 100, "PaginationToken": token}
        page = tagging.get_resources(**asked)
        again = tagging.get_resources(**asked)
        assert page["ResourceTagMappingList"] == again["ResourceTagMappingList"]
        assert len(page["ResourceTagMappingList"]) == size
        seen += [each["ResourceARN"] for each in page["ResourceTagMappingList"]]
        token = page["PaginationToken"]
    assert token == ""
    assert len(set(seen)) == 250


def test_what_has_lost_its_tag_or_is_deleted_is_listed_no_more(
    ec2: "EC2Client", tagging: Any
) -> None:
    kept, untagged, deleted = (make_volume(ec2) for _ in range(3))
    ec2.create_tags(Resources=[kept, untagged, deleted], Tags=GOLD)
    ec2.delete_tags(Resources=[untagged], Tags=[{"Key": "cpm backup"}])
    ec2.delete_volume(VolumeId=deleted)
    assert set(found(tagging, TagFilters=BACKUP)) == {f"volume/{kept}"}


def test_a_terminated_instance_is_still_listed(ec2: "EC2Client", tagging: Any) -> None:
    instance_id = run_instance(ec2)["InstanceId"]
    ec2.create_tags(Resources=[instance_id], Tags=GOLD)
    ec2.terminate_instances(InstanceIds=[instance_id])
    assert set(found(tagging, TagFilters=BACKUP)) == {f"instance/{instance_id}"}


def test_accounts_and_regions_are_apart(
    client: Clients, new_account: Callable[[], Credentials], ec2: "EC2Client", account: Credentials
) -> None:
    ec2.create_tags(Resources=[make_volume(ec2)], Tags=GOLD)
    assert found(client("resourcegroupstaggingapi", new_account()), TagFilters=BACKUP) == {}
    elsewhere = client("resourcegroupstaggingapi", account, "eu-west-1")
    assert found(elsewhere, TagFilters=BACKUP) == {}


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("InvalidParameterException", {"ResourcesPerPage": 101}),
        ("InvalidParameterException", {"ResourcesPerPage": 0}),
        ("InvalidParameterException", {"ResourceTypeFilters": ["ec2:"]}),
        (
            "InvalidParameterException",
            {"ResourceARNList": ["arn:aws:ec2:us-east-1:1:volume/vol-1"], "TagFilters": BACKUP},
        ),
        ("PaginationTokenExpiredException", {"PaginationToken": "never given"}),
    ],
)
def test_requests_that_cannot_be_are_refused(tagging: Any, code: str, asked: Any) -> None:
    with refused(code):
        tagging.get_resources(**asked)


def test_it_is_counted_failed_and_permitted_by_the_name_that_iam_has_for_it(
    simulator: Simulator, client: Clients, account: Credentials, tagging: Any
) -> None:
    simulator.reset_counts()
    tagging.get_resources()
    assert simulator.counts() == {"tag:GetResources": 1}
    simulator.faults([{"op": "tag:GetResources", "kind": "denied", "times": 1}])
    with refused("AccessDeniedException"):
        tagging.get_resources()
    simulator.faults([{"op": "tag:*", "kind": "throttle", "times": 1}])
    with refused("ThrottlingException"):
        tagging.get_resources()
