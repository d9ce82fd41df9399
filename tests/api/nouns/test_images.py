"""AMIs over the API: how they are asked for, shown, and deleted."""

import pytest

from tests.api.nouns.cloud import REGION, Cloud
from tests.api.nouns.estate import Estate, create


def snapshots_of(estate: Estate, backup: int, collection: str) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = estate.caller.get(
        f"/backups/{backup}/snapshots/{collection}/"
    ).json
    return listed


def test_an_instance_is_shown_with_its_ami(estate: Estate, cloud: Cloud) -> None:
    instance_id = cloud.instance()
    estate.target("instances", instance_id, backup_option="N")
    backup = estate.run()
    assert backup["status"] == "B"
    (ami,) = snapshots_of(estate, backup["id"], "only_amis")
    assert (ami["resource_id"], ami["instance_id"]) == (instance_id, instance_id)
    (whole,) = snapshots_of(estate, backup["id"], "instances")
    assert (whole["image_id"], whole["status"]) == (ami["snapshot_id"], "S")
    deleted = estate.caller.delete(f"/backups/{backup['id']}/snapshots/only_amis/{ami['id']}/")
    assert deleted.status == 204
    assert estate.caller.get(f"/backups/{backup['id']}/").json["status"] == "D"


def test_a_shared_initial_ami_is_in_use_until_it_is_the_last(estate: Estate, cloud: Cloud) -> None:
    estate.target("instances", cloud.instance(), backup_option="I")
    first, second = estate.run()["id"], estate.run()["id"]
    (made,) = snapshots_of(estate, first, "initial_amis")
    (shared,) = snapshots_of(estate, second, "initial_amis")
    assert made["snapshot_id"] == shared["snapshot_id"]
    assert made["id"] != shared["id"]
    refused = estate.caller.delete(f"/backups/{first}/snapshots/initial_amis/{made['id']}/")
    assert (refused.status, "in_use" in str(refused.json)) == (400, True)
    assert estate.caller.delete(f"/backups/{first}/").status == 204
    path = f"/backups/{second}/snapshots/initial_amis/{shared['id']}/"
    assert estate.caller.delete(path).status == 204


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"backup_option": "I", "initial_ami": "ami-0123456789abcdef0"}, "initial_ami"),
        ({"agent_enabled": True, "vss_enabled": True}, "vss_enabled"),
    ],
)
def test_options_that_do_not_suit_the_instance_are_refused(
    estate: Estate, cloud: Cloud, options: dict[str, object], field: str
) -> None:
    body = {"resource_id": cloud.instance(), "region": REGION, **options}
    answer = estate.caller.post(f"{estate.path}targets/instances/", body)
    assert answer.status == 400
    assert field in str(answer.json)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"initial_ami": "ami-0123456789abcdef0"}, "initial_ami"),
        ({"agent_enabled": True, "vss_enabled": True}, "vss_enabled"),
    ],
)
def test_a_target_is_not_changed_to_what_does_not_suit_it(
    estate: Estate, cloud: Cloud, options: dict[str, object], field: str
) -> None:
    target = estate.target("instances", cloud.instance())
    path = f"{estate.path}targets/instances/{target['id']}/"
    assert list(estate.caller.put(path, options).codes) == [field]
    assert estate.caller.get(path).json == target
    changed = estate.caller.put(f"{path}?validate=false", options)
    assert changed.json == {**target, **options}


def test_an_ami_without_its_root_volume_is_refused_where_it_can_be_seen(
    estate: Estate, cloud: Cloud
) -> None:
    instance_id = cloud.instance(volumes=2)
    root, data = cloud.volumes_of(instance_id).values()
    # Its volumes are named afterwards.
    target = estate.target("instances", instance_id, backup_option="A", volumes_mode="I")
    path = f"{estate.path}targets/instances/{target['id']}/"
    create(estate.caller, f"{path}volumes/", {"volume_id": data})
    assert estate.caller.put(path, {"script_timeout": 5}).codes == {"volumes_mode": ["invalid"]}
    named = create(estate.caller, f"{path}volumes/", {"volume_id": root})
    assert estate.caller.put(path, {"script_timeout": 5}).status == 200
    assert estate.caller.put(path, {"volumes_mode": "E"}).codes == {"volumes_mode": ["invalid"]}
    assert estate.caller.delete(f"{path}volumes/{named['id']}/").status == 204
    assert estate.caller.put(path, {"volumes_mode": "E"}).status == 200


def test_what_is_not_there_any_longer_can_be_changed(estate: Estate, cloud: Cloud) -> None:
    instance_id = cloud.instance()
    target = estate.target("instances", instance_id)
    cloud.ec2.terminate_instances(InstanceIds=[instance_id])
    path = f"{estate.path}targets/instances/{target['id']}/"
    assert estate.caller.put(path, {"volumes_mode": "E"}).json["volumes_mode"] == "E"


def test_a_run_says_that_it_was_told_to_protect_nothing(estate: Estate, cloud: Cloud) -> None:
    instance_id = cloud.instance()
    estate.target("instances", instance_id, volumes_mode="I")
    estate.target("volumes", cloud.volume())
    backup = estate.run()
    lines = estate.caller.get(f"/backups/{backup['id']}/logs/").json
    expected = f"Nothing of EC2 instance {instance_id} is to be protected."
    assert [line["severity"] for line in lines if line["message"] == expected] == ["W"]
