"""AMIs over the API: how they are asked for, shown, and deleted."""

import pytest

from tests.api.nouns.cloud import REGION, Cloud
from tests.api.nouns.estate import Estate


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
