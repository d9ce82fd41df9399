"""Targets over the API: every type that there is a driver for, and the volumes of instances."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from cpm.api import gateway, recoveries, snapshots, targets
from cpm.api.operations import Router
from cpm.models.users import User
from cpm.resources import registry
from cpm.resources.contract import SnapshotCollection
from cpm.resources.options import option
from tests.api.cast import Caller
from tests.api.nouns.cloud import REGION, Cloud
from tests.api.nouns.estate import Estate, create


def test_a_volume_is_shown_as_aws_has_it(estate: Estate, cloud: Cloud) -> None:
    volume_id = cloud.volume(size_gib=12, Name="data of the shop")
    target = estate.target("volumes", volume_id)
    assert target == {
        "id": target["id"],
        "policy": estate.policy,
        "resource_id": volume_id,
        "region": REGION,
        "name": "data of the shop",
        "status": "exists",
        "added_by": "user",
    }
    path = f"{estate.path}targets/volumes/"
    assert estate.caller.get(path).json == [target]
    assert estate.caller.get(f"{path}{target['id']}/").json == target
    assert estate.caller.put(f"{path}{target['id']}/", {}).status == 405
    assert estate.caller.delete(f"{path}{target['id']}/").status == 204
    assert estate.caller.get(path).json == []


def test_an_instance_shows_its_options_and_put_changes_them(estate: Estate, cloud: Cloud) -> None:
    instance_id = cloud.instance()
    body = {"instance_id": instance_id, "region": "2", "volumes_mode": "E"}
    target = create(estate.caller, f"{estate.path}targets/instances/", body)
    assert target == {
        "id": target["id"],
        "policy": estate.policy,
        "resource_id": instance_id,
        "region": REGION,
        "name": "server-00001",
        "status": "exists",
        "added_by": "user",
        "backup_option": "S",
        "volumes_mode": "E",
        "initial_ami": None,
        "agent_enabled": False,
        "vss_enabled": False,
        "scripts_enabled": False,
        "script_timeout": None,
    }
    path = f"{estate.path}targets/instances/{target['id']}/"
    changed = estate.caller.put(path, {"volumes_mode": "A", "resource_id": "i-1", "region": "x"})
    assert changed.json == target | {"volumes_mode": "A"}
    assert estate.caller.put(path, {"volumes_mode": "B", "script_timeout": 0}).codes == {
        "volumes_mode": ["invalid_choice"],
        "script_timeout": ["min_value"],
    }


def test_all_types_are_listed_together(estate: Estate, cloud: Cloud) -> None:
    volume = estate.target("volumes", cloud.volume())
    instance = estate.target("instances", cloud.instance())
    path = f"{estate.path}targets/"
    assert estate.caller.get(path).json == [
        volume | {"target_type": "volumes"},
        instance | {"target_type": "instances"},
    ]
    found = estate.caller.get(f"{path}?search={instance['resource_id'][:6]}").json
    assert [each["id"] for each in found] == [instance["id"]]
    assert estate.caller.get(f"{path}?region=eu-west-1").json == []
    assert len(estate.caller.get(f"{path}?region=2").json) == 2
    assert estate.caller.get(f"{path}?region=nowhere").codes == {"region": ["invalid"]}


def test_what_does_not_exist_in_the_policys_account_is_refused(
    estate: Estate, cloud: Cloud, other_cloud: Cloud
) -> None:
    path = f"{estate.path}targets/volumes/"
    elsewhere = cloud.volume(region="eu-west-1")
    for volume_id in (elsewhere, other_cloud.volume(), "vol-0123456789abcdef0", "nonsense"):
        body = {"volume_id": volume_id, "region": REGION}
        assert estate.caller.post(path, body).codes == {"resource_id": ["does_not_exist"]}
    assert create(estate.caller, path, {"volume_id": elsewhere, "region": "eu-west-1"})
    unseen = {"volume_id": "vol-0123456789abcdef0", "region": REGION}
    assert create(estate.caller, f"{path}?validate=false", unseen)["name"] is None


def test_a_resource_is_in_a_policy_once(estate: Estate, cloud: Cloud) -> None:
    volume_id = cloud.volume()
    estate.target("volumes", volume_id)
    path = f"{estate.path}targets/volumes/"
    body = {"resource_id": volume_id, "region": "us-east-1"}
    assert estate.caller.post(path, body).codes == {"resource_id": ["unique"]}
    assert estate.caller.post(path, {"region": "nowhere"}).codes == {
        "resource_id": ["required"],
        "region": ["does_not_exist"],
    }


def test_a_refusal_of_aws_is_told(estate: Estate, cloud: Cloud) -> None:
    volume_id = cloud.volume()
    cloud.simulator.faults([{"op": "ec2:DescribeVolumes", "kind": "denied"}])
    body = {"resource_id": volume_id, "region": REGION}
    answer = estate.caller.post(f"{estate.path}targets/volumes/", body)
    assert (answer.status, answer.codes) == (400, {"non_field_errors": ["aws_error"]})
    message = answer.json["errors"][0]["non_field_errors"][0]["message"]
    assert message.startswith("ec2:DescribeVolumes UnauthorizedOperation")


def test_volumes_of_an_instance_are_named_one_by_one(estate: Estate, cloud: Cloud) -> None:
    instance_id = cloud.instance()
    volumes = cloud.volumes_of(instance_id)
    device, volume_id = list(volumes.items())[1]
    target = estate.target("instances", instance_id, volumes_mode="E")
    path = f"{estate.path}targets/instances/{target['id']}/volumes/"
    named = create(estate.caller, path, {"volume_id": volume_id})
    assert named == {"id": named["id"], "volume_id": volume_id, "device": device, "size_gib": 16}
    assert estate.caller.get(path).json == [named]
    assert estate.caller.get(f"{path}{named['id']}/").json == named
    assert estate.caller.post(path, {"volume_id": volume_id}).codes == {"volume_id": ["unique"]}
    assert estate.caller.post(path, {"volume_id": cloud.volume()}).codes == {
        "volume_id": ["does_not_exist"]
    }
    unseen = create(estate.caller, f"{path}?validate=false", {"volume_id": "vol-0"})
    assert (unseen["device"], unseen["size_gib"]) == (None, None)
    assert estate.caller.delete(f"{path}{named['id']}/").status == 204
    assert estate.caller.get(path).json == [unseen]
    volume_target = estate.target("volumes", volume_id)
    beside = f"{estate.path}targets/volumes/{volume_target['id']}/volumes/"
    assert estate.caller.get(beside).status == 404


def test_limits_count_resources_once_and_sizes_in_gib(
    estate: Estate, managed: Caller, cloud: Cloud
) -> None:
    limits = {"max_instances": 1, "max_independent_ebs_gib": 30}
    User.objects.filter(pk=managed.id).update(**limits)
    body = {"name": "second", "account": estate.account}
    second = replace(estate, policy=create(managed, "/policies/", body)["id"])
    instance_id, volume_id = cloud.instance(), cloud.volume(size_gib=20)
    for one in (estate, second):
        one.target("instances", instance_id)
        one.target("volumes", volume_id)
    estate.target("volumes", cloud.volume(size_gib=10))
    for collection, resource_id, limit in (
        ("instances", cloud.instance(), "max_instances"),
        ("volumes", cloud.volume(size_gib=1), "max_independent_ebs_gib"),
    ):
        path = f"{second.path}targets/{collection}/"
        answer = managed.post(path, {"resource_id": resource_id, "region": REGION})
        assert answer.codes == {"non_field_errors": ["limit_exceeded"]}
        assert limit in answer.json["errors"][0]["non_field_errors"][0]["message"]
        assert len(managed.get(path).json) == 1


def test_targets_of_others_are_not_there(
    estate: Estate, cloud: Cloud, root: Caller, stranger: Caller, delegate: Caller
) -> None:
    instance_id = cloud.instance()
    target = estate.target("instances", instance_id)
    many = f"{estate.path}targets/instances/"
    one = f"{many}{target['id']}/"
    body = {"resource_id": instance_id, "region": REGION}
    for path in (f"{estate.path}targets/", many, one, f"{one}volumes/"):
        assert stranger.get(path).status == 404
        assert delegate.get(path).status == root.get(path).status == 200
    assert stranger.post(many, body).status == 404
    assert stranger.put(one, {}).status == 404
    assert stranger.delete(one).status == 404
    assert delegate.post(many, body).status == 403
    assert delegate.put(one, {}).status == 403
    assert delegate.post(f"{one}volumes/", {"volume_id": "vol-1"}).status == 403
    assert delegate.delete(one).status == 403
    # A target is found under its own policy and type only.
    other = create(estate.caller, "/policies/", {"name": "other", "account": estate.account})
    assert root.get(f"/policies/{other['id']}/targets/instances/{target['id']}/").status == 404
    assert root.get(f"{estate.path}targets/volumes/{target['id']}/").status == 404


def test_lists_of_targets_cost_two_queries(
    estate: Estate, cloud: Cloud, django_assert_num_queries: Any
) -> None:
    for volume_id in cloud.seed(standalone=5)["standalone"]:
        estate.target("volumes", volume_id)
    for path in ("targets/", "targets/volumes/"):
        with django_assert_num_queries(2):
            assert len(estate.caller.get(f"{estate.path}{path}").json) == 5


@dataclass(frozen=True)
class BucketOptions:
    prefix: str | None = option(None, label="Prefix", max_length=9)
    depth: int = option(3, label="Depth", minimum=1, maximum=5)


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One more resource type, as if a file had been added."""
    driver = replace(
        registry.driver("ebs_volume"),
        kind="test_bucket",
        label="bucket",
        target_collection="buckets",
        target_id_alias="bucket",
        snapshot_collections=(
            SnapshotCollection("bucket_copies", "Bucket copies", can_recover=True),
        ),
        target_options=BucketOptions,
        recover_options=BucketOptions,
        target_is_changeable=True,
    )
    with registry.added(driver):
        operations = [
            *targets.operations(),
            *snapshots.operations(),
            *recoveries.operations(),
        ]
        monkeypatch.setattr(gateway, "ROUTER", Router(operations))
        yield [f"{each.method} {each.path}" for each in operations if "bucket" in each.path]


def test_a_new_driver_brings_its_endpoints_with_it(estate: Estate, buckets: list[str]) -> None:
    one_target = "/policies/{policy_id}/targets/buckets/{id}/"
    one_copy = "/backups/{backup_id}/snapshots/bucket_copies/{id}/"
    assert sorted(buckets) == sorted(
        [
            *(f"{method} /policies/{{policy_id}}/targets/buckets/" for method in ("GET", "POST")),
            *(f"{method} {one_target}" for method in ("GET", "PUT", "DELETE")),
            *(
                f"{method} /policies/{{policy_id}}/targets/buckets/{{target_id}}/volumes/"
                for method in ("GET", "POST")
            ),
            *(
                f"{method} /policies/{{policy_id}}/targets/buckets/{{target_id}}/volumes/{{id}}/"
                for method in ("GET", "DELETE")
            ),
            "GET /backups/{backup_id}/snapshots/bucket_copies/",
            *(f"{method} {one_copy}" for method in ("GET", "DELETE")),
            "POST /backups/{backup_id}/snapshots/bucket_copies/{snapshot_id}/recover/",
        ]
    )
    path = f"{estate.path}targets/buckets/?validate=false"
    assert estate.caller.post(path, {"prefix": "far too long", "depth": 6}).codes == {
        "resource_id": ["required"],
        "region": ["required"],
        "prefix": ["max_length"],
        "depth": ["max_value"],
    }
    target = create(estate.caller, path, {"bucket": "b", "region": REGION, "prefix": "p"})
    assert (target["resource_id"], target["prefix"], target["depth"]) == ("b", "p", 3)
    changed = estate.caller.put(f"{estate.path}targets/buckets/{target['id']}/", {"depth": 5})
    assert changed.json == target | {"depth": 5}
    (listed,) = estate.caller.get(f"{estate.path}targets/").json
    assert listed == target | {"depth": 5, "target_type": "buckets"}
