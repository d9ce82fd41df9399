"""`?dry_run=true` says of each snapshot whether AWS would lose it, and if not, why."""

from typing import Any

import pytest

from cpm.models.recoveries import Recovery
from tests.api.cast import Caller
from tests.api.nouns.cloud import REGION, Cloud
from tests.api.nouns.estate import Estate, create, drain, keys, work_on

FROZEN = "its backup is frozen"
SHARED = "other backups need it"


def preview(caller: Caller, path: str) -> dict[str, str | None]:
    """Why each snapshot would be kept, by what AWS calls it."""
    answer = caller.delete(f"{path}?dry_run=true")
    assert answer.status == 200, answer.body
    return {each["snapshot_id"]: each["kept_because"] for each in answer.json}


def images(cloud: Cloud) -> set[str]:
    return {each["ImageId"] for each in cloud.ec2.describe_images(Owners=["self"])["Images"]}


def snapshots_of(estate: Estate, backup: Any, kind: str = "") -> list[Any]:
    path = f"/backups/{backup['id']}/snapshots/"
    listed: list[Any] = estate.caller.get(f"{path}{kind}/" if kind else path).json
    return listed


def in_bulk(estate: Estate, backup: Any) -> list[str]:
    """The deletions that speak of copies in S3."""
    return [
        f"/backups/{backup['id']}/snapshots/",
        f"{estate.path}snapshots/",
        f"/accounts/backup/{estate.account}/snapshots/",
    ]


def test_an_initial_ami_stays_as_long_as_other_backups_need_it(
    estate: Estate, cloud: Cloud
) -> None:
    estate.target("instances", cloud.instance(volumes=1), backup_option="I")
    first, second = estate.run(), estate.run()
    (image,) = images(cloud)
    (shared,) = snapshots_of(estate, first, "initial_amis")
    path = f"/backups/{first['id']}/"
    for deletion in (path, f"{path}snapshots/", f"{path}snapshots/initial_amis/{shared['id']}/"):
        assert preview(estate.caller, deletion)[image] == SHARED
    # Together they need it no more.
    everything = preview(estate.caller, f"{estate.path}snapshots/")
    assert everything == {
        each["snapshot_id"]: None
        for backup in (first, second)
        for each in snapshots_of(estate, backup)
    }
    name = {"name": "kept"}
    assert estate.caller.post(f"/backups/{second['id']}/to_freezer/", name).status == 200
    told = estate.caller.delete(f"{estate.path}snapshots/?dry_run=true").json
    kept = {(each["snapshot_type"], each["kept_because"]) for each in told}
    assert kept == {
        ("volumes", None),
        ("volumes", FROZEN),
        ("initial_amis", SHARED),
        ("initial_amis", FROZEN),
    }
    assert estate.caller.delete(f"{estate.path}snapshots/").status == 204
    drain()
    assert images(cloud) == {image}


def test_an_ami_that_its_owner_has_named_is_not_ours_to_delete(
    estate: Estate, cloud: Cloud
) -> None:
    instance_id = cloud.instance(volumes=1)
    own = cloud.ec2.create_image(InstanceId=instance_id, Name="golden")["ImageId"]
    estate.target("instances", instance_id, backup_option="I", initial_ami=own)
    backup = estate.run()
    told = preview(estate.caller, f"/backups/{backup['id']}/")
    assert told.pop(own) == "its owner has named it"
    assert set(told.values()) == {None}
    assert estate.caller.delete(f"/backups/{backup['id']}/").status == 204
    drain()
    assert own in images(cloud)


def test_nothing_goes_that_a_backup_is_still_made_of(estate: Estate, cloud: Cloud) -> None:
    estate.target("volumes", cloud.volume())
    cloud.simulator.config(pending=100_000)
    backup = create(estate.caller, f"{estate.path}backups/", {})
    while not cloud.snapshots():
        work_on()
    for deletion in in_bulk(estate, backup):
        assert set(preview(estate.caller, deletion).values()) == {"its backup is under way"}
    assert estate.caller.delete(f"/backups/{backup['id']}/").status == 409
    cloud.simulator.finish()
    drain()


def test_nothing_goes_that_copies_are_made_of(estate: Estate, cloud: Cloud) -> None:
    estate.target("volumes", cloud.volume())
    wanted = {"enabled": True, "target_regions": ["eu-west-1"]}
    assert estate.caller.put(f"{estate.path}dr/", wanted).status == 200
    backup = {"id": estate.run_until_copies_are_made()}
    for deletion in (f"/backups/{backup['id']}/", *in_bulk(estate, backup)):
        told = set(preview(estate.caller, deletion).values())
        assert told == {"copies of its backup are under way"}
    assert estate.caller.delete(f"/backups/{backup['id']}/").status == 409
    cloud.simulator.finish()
    cloud.simulator.config(pending=0)
    drain()


def test_nothing_goes_that_a_recovery_starts_from(estate: Estate, cloud: Cloud) -> None:
    for _ in range(2):
        estate.target("volumes", cloud.volume())
    backup = estate.run()
    path = f"/backups/{backup['id']}/"
    needed, free = snapshots_of(estate, backup)
    recover = f"{path}snapshots/volumes/{needed['id']}/recover/"
    create(estate.caller, recover, {})
    of_policy = preview(estate.caller, f"{estate.path}snapshots/")
    assert of_policy == {needed["snapshot_id"]: "a recovery needs it", free["snapshot_id"]: None}
    # The record itself is left alone as a whole.
    for deletion in (path, f"{path}snapshots/"):
        assert preview(estate.caller, deletion) == {
            needed["snapshot_id"]: "a recovery needs it",
            free["snapshot_id"]: "a recovery from the backup is under way",
        }
        assert estate.caller.delete(deletion).status == 409
    drain()
    assert Recovery.objects.get().outcome == "S"
    assert set(preview(estate.caller, path).values()) == {None}


def test_copies_in_an_account_that_forbids_deleting_are_only_marked(
    managed: Caller, estate: Estate, cloud: Cloud, other_cloud: Cloud
) -> None:
    vault = keys(other_cloud, name="vault", allow_deleting_snapshots=False)
    vault_id = create(managed, "/accounts/dr/", vault)["id"]
    wanted = {
        "enabled": True,
        "cross_account_enabled": True,
        "cross_account_dr_account": vault_id,
    }
    assert estate.caller.put(f"{estate.path}dr/", wanted).status == 200
    estate.target("volumes", cloud.volume())
    backup = estate.run()
    told = preview(estate.caller, f"/backups/{backup['id']}/")
    (copy,) = snapshots_of(estate, backup, "dr_volumes")
    reason = "its account forbids deleting: it is marked as expired instead"
    assert told.pop(copy["snapshot_id"]) == reason
    assert list(told.values()) == [None]
    assert preview(estate.caller, f"/accounts/dr/{vault_id}/snapshots/") == {
        copy["snapshot_id"]: reason
    }


@pytest.mark.parametrize("version", ["1.0.0", "1.2.0"])
def test_bulk_deletions_may_be_told_to_include_copies_in_s3(
    estate: Estate, cloud: Cloud, version: str
) -> None:
    estate.target("volumes", cloud.volume())
    backup = estate.run()
    for deletion in in_bulk(estate, backup)[1:]:
        client = estate.caller.using(version)
        assert client.delete(f"{deletion}?dry_run=true&include_s3=true").status == 200
        nonsense = client.delete(f"{deletion}?include_s3=perhaps")
        assert nonsense.codes == {"include_s3": ["invalid"]}
    assert len(cloud.snapshots(REGION)) == 1
