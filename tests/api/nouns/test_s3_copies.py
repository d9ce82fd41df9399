"""Copies in S3 over the API: what there is of them, and how they go."""

from typing import Any

import pytest

from tests.api.cast import Caller
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import Estate, create, drain, work_on


@pytest.fixture
def vault(managed: Caller, estate: Estate, cloud: Cloud) -> int:
    """A repository that the policy copies one volume to."""
    body = {"name": "vault", "account": estate.account, "bucket_name": cloud.bucket()}
    repository = int(create(managed, "/s3_repositories/", body)["id"])
    volume = cloud.volume(size_gib=1)
    fill = {"pattern": "text", "start": 0, "count": 4, "seed": 1}
    cloud.simulator.fill(volume, fill)
    estate.target("volumes", volume)
    managed.put(f"{estate.path}copy_to_s3/", {"enabled": True, "repository": repository})
    return repository


def objects(cloud: Cloud, kind: str) -> list[str]:
    """The names of the repository's objects of a kind."""
    name = f"archive-{cloud.number}"
    found = cloud.client("s3").list_objects_v2(Bucket=name, Prefix=f"vault/{kind}/")
    return [each["Key"].rpartition("/")[2] for each in found.get("Contents", ())]


def report(caller: Caller) -> list[str]:
    """The types of the snapshots that the report tells of."""
    return [each["type"] for each in caller.get("/reports/snapshots/").json]


def test_a_run_tells_of_its_copies(
    managed: Caller, estate: Estate, cloud: Cloud, vault: int
) -> None:
    run = estate.run()
    status = run["s3_copy_status"]
    assert (status["status"], status["repository"]) == ("S", vault)
    assert status["finish_time"]
    path = f"/backups/{run['id']}/snapshots/"
    (copy,) = managed.get(f"{path}copy_to_s3/").json
    (original,) = managed.get(f"{path}volumes/").json
    assert [copy["snapshot_id"]] == objects(cloud, "manifests")
    same = ("backup", "account", "resource_id", "resource_name", "size_gib", "encrypted")
    assert {name: copy[name] for name in same} == {name: original[name] for name in same}
    assert (copy["status"], copy["progress"], copy["region"]) == ("S", 100, "eu-west-1")
    assert (copy["repository"], copy["size_bytes"]) == (vault, 4 * 2**19)
    assert 0 < copy["stored_bytes"] < 4 * 2**19
    one = f"{path}copy_to_s3/{copy['id']}/"
    assert managed.get(one).json == managed.using("1.1.0").get(one).json == copy
    assert managed.using("1.0.0").get(one).status == 404
    assert managed.delete(one).status == 405
    all_types = {each["snapshot_type"] for each in managed.get(path).json}
    assert all_types == {"volumes", "copy_to_s3"}
    assert report(managed) == ["volumes", "copy_to_s3"]
    assert report(managed.using("1.0.0")) == ["volumes"]
    (row,) = managed.get("/reports/backups/").json
    assert row["s3_copy_status"] == "S"
    repository = managed.get(f"/s3_repositories/{vault}/").json
    assert repository["size_bytes"] == copy["size_bytes"]
    assert repository["stored_bytes"] == copy["stored_bytes"]


def test_deletions_leave_copies_alone_unless_they_are_told(
    managed: Caller, estate: Estate, cloud: Cloud, vault: int
) -> None:
    run = estate.run()["id"]
    (manifest,) = objects(cloud, "manifests")
    snapshots = f"/backups/{run}/snapshots/"

    def would_go(path: str) -> set[str]:
        return {each["snapshot_type"] for each in managed.delete(path).json}

    for path in (snapshots, f"{estate.path}snapshots/", accounts(estate)):
        assert would_go(f"{path}?dry_run=true") == {"volumes"}
        assert would_go(f"{path}?dry_run=true&include_s3=true") == {"volumes", "copy_to_s3"}
    assert would_go(f"/backups/{run}/?dry_run=true") == {"volumes", "copy_to_s3"}
    assert managed.delete(snapshots).status == 204
    drain()
    record = managed.get(f"/backups/{run}/").json
    assert (record["status"], record["s3_copy_status"]["status"]) == ("D", "S")
    assert cloud.snapshots() == {}
    managed.put(f"{estate.path}copy_to_s3/", {"enabled": False, "repository": None})
    refused = managed.delete(f"/s3_repositories/{vault}/")
    assert refused.codes == {"non_field_errors": ["in_use"]}
    assert "1 copies" in str(refused.json)
    assert objects(cloud, "manifests") == [manifest]
    assert managed.delete(f"{snapshots}?include_s3=true").status == 204
    drain()
    assert managed.get(f"/backups/{run}/").json["s3_copy_status"]["status"] == "D"
    assert objects(cloud, "manifests") == []
    assert objects(cloud, "retired") == [manifest]
    (gone,) = managed.get(f"{snapshots}copy_to_s3/").json
    assert (gone["status"], gone["repository"]) == ("D", vault)
    assert managed.delete(f"/s3_repositories/{vault}/").status == 204
    (gone,) = managed.get(f"{snapshots}copy_to_s3/").json
    assert (gone["repository"], gone["size_bytes"]) == (None, None)


def accounts(estate: Estate) -> str:
    return f"/accounts/backup/{estate.account}/snapshots/"


def test_nothing_is_taken_away_from_a_copy_that_is_under_way(
    managed: Caller, root: Caller, estate: Estate, vault: int
) -> None:
    estate.cloud.simulator.faults([{"op": "ebs:GetSnapshotBlock", "kind": "denied", "times": 1}])
    run: Any = create(managed, f"{estate.path}backups/", {})
    record = f"/backups/{run['id']}/"
    while managed.get(record).json["s3_copy_status"]["status"] == "N":
        assert work_on()
    in_progress = {"non_field_errors": ["in_progress"]}
    for path in (record, f"{record}snapshots/", accounts(estate).removesuffix("snapshots/")):
        assert managed.delete(path).status in {400, 409}, path
    assert managed.delete(record).codes == in_progress
    assert managed.delete(f"{record}snapshots/?include_s3=true").codes == in_progress
    (original,) = managed.get(f"{record}snapshots/volumes/").json
    one = managed.delete(f"{record}snapshots/volumes/{original['id']}/")
    assert (one.status, one.codes) == (409, in_progress)
    assert root.delete(f"/users/{managed.id}/").codes == in_progress
    (kept,) = managed.delete(f"{estate.path}snapshots/?dry_run=true").json
    assert kept["kept_because"] == "copies of its backup are under way"
    # A run now is not kept from beginning, and waits with its own copy.
    drain()
    assert managed.get(record).json["s3_copy_status"]["status"] == "S"
    assert managed.delete(record).status == 204
