"""Recoveries over the API: volumes and instances brought back in AWS."""

from dataclasses import dataclass
from typing import Any

import pytest

from cpm.models.snapshots import Snapshot
from cpm.models.users import UserKind
from tests.api.cast import Caller, caller, make_user
from tests.api.nouns.cloud import REGION, Cloud
from tests.api.nouns.estate import Estate, create, drain


def backed_up_volume(estate: Estate, volume_id: str) -> tuple[int, str]:
    """Back the volume up; returns the backup's id and the path that recovers the volume."""
    estate.target("volumes", volume_id)
    backup = estate.run()["id"]
    (snapshot,) = estate.caller.get(f"/backups/{backup}/snapshots/").json
    return backup, f"/backups/{backup}/snapshots/volumes/{snapshot['id']}/recover/"


def tags_of(resource: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in resource["Tags"]}


def test_a_volume_comes_back_as_it_was(estate: Estate, cloud: Cloud) -> None:
    volume_id = cloud.volume(size_gib=12, Name="data", owner="shop")
    backup, path = backed_up_volume(estate, volume_id)
    record = estate.caller.get(f"/backups/{backup}/").json
    recovery = create(estate.caller, path, {})
    assert recovery == {
        "id": recovery["id"],
        "user": estate.caller.id,
        "account": estate.account,
        "backup": backup,
        "policy": estate.policy,
        "recovery_type": "V",
        "status": "P",
        "recovery_time": recovery["recovery_time"],
        "backup_time": record["start_time"],
        "finish_time": None,
        "resource_id": volume_id,
        "region": REGION,
        "result_resource_id": None,
        "result_resource_ids": [],
        "options": {},
        "error": None,
        "progress": recovery["progress"],
    }
    one = f"/recoveries/{recovery['id']}/"
    assert estate.caller.delete(one).codes == {"non_field_errors": ["in_progress"]}
    assert estate.caller.delete(f"/backups/{backup}/").status == 409
    drain()

    done = estate.caller.get(one).json
    result = done["result_resource_id"]
    assert (done["status"], done["progress"], done["error"]) == ("S", 100, None)
    assert done["result_resource_ids"] == [result]
    (made,) = cloud.ec2.describe_volumes(VolumeIds=[result])["Volumes"]
    assert result != volume_id
    assert made["Size"] == 12
    assert made["AvailabilityZone"] == f"{REGION}a"
    assert tags_of(made).items() >= {"Name": "data", "owner": "shop"}.items()
    lines = [line["message"] for line in estate.caller.get(f"{one}logs/").json]
    assert lines[0] == f"Recovery of {volume_id} from backup {backup} started."
    assert lines[-1] == f"Recovered as {result}."

    assert estate.caller.delete(one).status == 204
    assert estate.caller.get("/recoveries/").json == []
    assert cloud.ec2.describe_volumes(VolumeIds=[result])["Volumes"]


def test_options_override_the_original(estate: Estate, cloud: Cloud) -> None:
    _, path = backed_up_volume(estate, cloud.volume(Name="data"))
    asked = {
        "size_gib": "20",
        "volume_type": "io1",
        "iops": 500,
        "availability_zone": f"{REGION}b",
        "preserve_tags": "no",
        "additional_tags": {"ticket": "4711"},
    }
    recovery = create(estate.caller, path, asked)
    assert recovery["options"] == asked | {"size_gib": 20, "preserve_tags": False}
    drain()
    result = estate.caller.get(f"/recoveries/{recovery['id']}/").json["result_resource_id"]
    (made,) = cloud.ec2.describe_volumes(VolumeIds=[result])["Volumes"]
    assert (made["Size"], made["VolumeType"], made["Iops"]) == (20, "io1", 500)
    assert made["AvailabilityZone"] == f"{REGION}b"
    tags = tags_of(made)
    assert tags["ticket"] == "4711"
    assert "Name" not in tags


def test_what_can_be_seen_to_be_wrong_makes_no_record(estate: Estate, cloud: Cloud) -> None:
    _, path = backed_up_volume(estate, cloud.volume(size_gib=10))
    for asked, codes in (
        ({"size_gib": "big", "volume_type": "gp9"}, ["invalid", "invalid_choice"]),
        ({"size_gib": 9}, ["min_value"]),
        ({"availability_zone": "eu-west-1a"}, ["invalid_choice"]),
        ({"attach_to_instance": "i-0123456789abcdef0"}, ["does_not_exist"]),
        ({"region": "eu-west-1"}, ["does_not_exist"]),
        ({"account": 424242}, ["does_not_exist"]),
        ({"additional_tags": {"aws:x": "y"}}, ["invalid"]),
    ):
        answer = estate.caller.post(path, asked)
        assert answer.status == 400
        assert sorted(code for one in answer.codes.values() for code in one) == codes
    assert estate.caller.delete(path.removesuffix("recover/")).status == 204
    assert estate.caller.post(path, {}).codes == {"non_field_errors": ["invalid"]}
    assert estate.caller.get("/recoveries/").json == []


def test_an_instance_comes_back_with_its_volumes(estate: Estate, cloud: Cloud) -> None:
    instance_id = cloud.instance(volumes=3)
    estate.target("instances", instance_id)
    backup = estate.run()["id"]
    (instance,) = estate.caller.get(f"/backups/{backup}/snapshots/instances/").json
    path = f"/backups/{backup}/snapshots/instances/{instance['id']}/recover/"
    recovery = create(estate.caller, path, {"instance_type": "t3.small"})
    assert (recovery["recovery_type"], recovery["resource_id"]) == ("I", instance_id)
    drain()
    done = estate.caller.get(f"/recoveries/{recovery['id']}/").json
    assert (done["status"], done["error"]) == ("S", None)
    result = done["result_resource_id"]
    found = cloud.ec2.describe_instances(InstanceIds=[result])["Reservations"][0]["Instances"]
    assert found[0]["InstanceType"] == "t3.small"
    assert tags_of(found[0])["Name"] == "server-00001"
    assert cloud.volumes_of(result).keys() == cloud.volumes_of(instance_id).keys()


def test_an_instance_is_not_recovered_without_a_volume_unless_told_so(
    estate: Estate, cloud: Cloud
) -> None:
    instance_id = cloud.instance(volumes=2)
    estate.target("instances", instance_id)
    backup = estate.run()["id"]
    path = f"/backups/{backup}/snapshots/"
    (instance,) = estate.caller.get(f"{path}instances/").json
    root, data = (estate.caller.get(f"{path}volumes/{each}/").json for each in instance["volumes"])
    recover = f"{path}instances/{instance['id']}/recover/"
    assert estate.caller.delete(f"{path}volumes/{data['id']}/").status == 204
    assert estate.caller.post(recover, {}).codes == {"block_devices": ["required"]}
    assert estate.caller.get("/recoveries/").json == []
    skipped = {"block_devices": [{"device": data["volume_device"], "skip": True}]}
    recovery = create(estate.caller, recover, skipped)
    drain()
    done = estate.caller.get(f"/recoveries/{recovery['id']}/").json
    assert done["status"] == "S"
    assert list(cloud.volumes_of(done["result_resource_id"])) == [root["volume_device"]]
    assert estate.caller.delete(f"{path}volumes/{root['id']}/").status == 204
    assert estate.caller.post(recover, {}).codes == {"non_field_errors": ["invalid"]}


@dataclass(frozen=True)
class Copied:
    """An instance whose backup has copies in other regions."""

    path: str
    regions: dict[str, dict[str, str]]


@pytest.fixture
def copied(estate: Estate, cloud: Cloud) -> Copied:
    """A backup of an instance, with a copy of each snapshot in two other regions."""
    estate.target("instances", cloud.instance(volumes=2))
    backup = estate.run()["id"]
    (instance,) = estate.caller.get(f"/backups/{backup}/snapshots/instances/").json
    regions = {region: _copy_all(backup, cloud, region) for region in ("eu-west-1", "eu-west-2")}
    return Copied(f"/backups/{backup}/snapshots/instances/{instance['id']}/recover/", regions)


def _copy_all(backup: int, cloud: Cloud, region: str) -> dict[str, str]:
    """Copy all snapshots of a backup to a region; the copies by device."""
    copies = {}
    for source in Snapshot.objects.filter(backup=backup, region=REGION).order_by("pk"):
        made = cloud.client("ec2", region).copy_snapshot(
            SourceRegion=REGION, SourceSnapshotId=source.aws_ref
        )
        copies[str(source.volume_device)] = made["SnapshotId"]
        source.source_snapshot = Snapshot(pk=source.pk)
        source.pk, source.target, source._state.adding = None, None, True
        source.region, source.aws_ref = region, made["SnapshotId"]
        source.save(force_insert=True)
    return copies


def test_an_instance_comes_back_from_the_copy_that_was_named(
    estate: Estate, cloud: Cloud, copied: Copied
) -> None:
    wanted = {"source": "dr", "region": "eu-west-2", "account": estate.account}
    recovery = create(estate.caller, copied.path, wanted)
    drain()
    done = estate.caller.get(f"/recoveries/{recovery['id']}/").json
    assert (done["status"], done["error"], done["region"]) == ("S", None, "eu-west-2")
    assert done["options"]["source"] == "dr"
    ec2 = cloud.client("ec2", "eu-west-2")
    volumes = ec2.describe_volumes(
        Filters=[{"Name": "attachment.instance-id", "Values": [done["result_resource_id"]]}]
    )["Volumes"]
    assert {each["SnapshotId"] for each in volumes} == set(copied.regions["eu-west-2"].values())
    lines = estate.caller.get(f"/recoveries/{recovery['id']}/logs/").json
    assert any("its own network is elsewhere" in line["message"] for line in lines)


def test_a_copy_that_is_not_there_or_not_said_makes_no_record(
    estate: Estate, copied: Copied
) -> None:
    for asked, codes in (
        ({"source": "s3"}, {"source": ["invalid"]}),
        ({"source": "nowhere"}, {"source": ["invalid_choice"]}),
        ({"source": "dr"}, {"region": ["required"]}),
        ({"source": "dr", "region": "eu-west-3"}, {"source": ["invalid"]}),
        (
            {"source": "dr", "region": "eu-west-1", "account": 424242},
            {"source": ["invalid"], "account": ["does_not_exist"]},
        ),
        ({"source": "backup", "region": "eu-west-1"}, {"non_field_errors": ["does_not_exist"]}),
    ):
        answer = estate.caller.post(copied.path, asked)
        assert (answer.status, answer.codes) == (400, codes)
    assert estate.caller.get("/recoveries/").json == []


def test_a_record_outlives_its_backup(estate: Estate, cloud: Cloud) -> None:
    backup, path = backed_up_volume(estate, cloud.volume())
    recovery = create(estate.caller, path, {})["id"]
    drain()
    assert estate.caller.delete(f"/backups/{backup}/").status == 204
    assert estate.caller.get(f"/recoveries/{recovery}/").json["backup"] is None
    drain()
    assert estate.caller.delete(estate.path).status == 204
    left = estate.caller.get(f"/recoveries/{recovery}/").json
    assert (left["backup"], left["policy"], left["status"]) == (None, None, "S")


def test_who_recovers_and_who_sees_it(
    estate: Estate, cloud: Cloud, root: Caller, stranger: Caller
) -> None:
    _, path = backed_up_volume(estate, cloud.volume())
    reader = _delegate(estate, "rita", allow_backup_changes=True)
    rescuer = _delegate(estate, "ron", allow_recovery=True)
    assert stranger.post(path, {}).status == 404
    assert reader.post(path, {}).status == 403
    recovery = create(rescuer, path, {})
    assert recovery["user"] == estate.caller.id
    drain()
    one = f"/recoveries/{recovery['id']}/"
    for read in ("/recoveries/", one, f"{one}logs/"):
        assert root.get(read).json == reader.get(read).json == estate.caller.get(read).json
    assert stranger.get("/recoveries/").json == []
    for method, hidden in (("GET", one), ("GET", f"{one}logs/"), ("DELETE", one)):
        assert stranger.send(method, hidden).status == 404
    assert reader.delete(one).status == 403
    assert root.delete(one).status == 204


def test_recoveries_are_filtered_searched_and_cost_one_query(
    estate: Estate, cloud: Cloud, django_assert_num_queries: Any
) -> None:
    volume_id = cloud.volume()
    backup, path = backed_up_volume(estate, volume_id)
    first = create(estate.caller, path, {})["id"]
    drain()
    second = create(estate.caller, path, {})["id"]

    def ids(query: str) -> list[int]:
        return [each["id"] for each in estate.caller.get(f"/recoveries/?{query}").json]

    assert ids("status=s") == [first]
    assert ids("status=p") == [second]
    assert ids(f"backup={backup}&policy={estate.policy}&recovery_type=v") == [first, second]
    assert ids("recovery_type=i") == []
    assert ids(f"search={volume_id}") == [first, second]
    result = estate.caller.get(f"/recoveries/{first}/").json["result_resource_id"]
    assert ids(f"search={result}") == [first]
    assert ids("ordering=-recovery_time") == [second, first]
    assert estate.caller.get("/recoveries/?recovery_type=x").codes == {
        "recovery_type": ["invalid_choice"]
    }
    with django_assert_num_queries(1):
        assert ids("")
    assert list(estate.caller.using("1.1.0").get(f"/recoveries/{first}/").json) == [
        *("id", "user", "account", "backup", "policy", "recovery_type", "status"),
        *("recovery_time", "backup_time", "finish_time", "resource_id", "region"),
        *("result_resource_id", "options", "error"),
    ]


def _delegate(estate: Estate, name: str, **switches: bool) -> Caller:
    return caller(make_user(name, UserKind.DELEGATE, original_user=estate.caller.user, **switches))
