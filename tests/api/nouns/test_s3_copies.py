"""Copies in S3 over the API: what there is of them, and how they go."""

from datetime import timedelta
from typing import Any

import pytest

from cpm.kernel import clock
from cpm.models.backups import Backup
from tests.api import document
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
    assert managed.get(one).json == copy
    assert (copy.pop("mib_per_second"), copy.pop("seconds_left")) == (None, None)
    assert managed.using("1.1.0").get(one).json == copy
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


def test_all_records_of_a_run_tell_how_far_its_copies_are_how_fast_and_for_how_long(
    managed: Caller, estate: Estate, cloud: Cloud, vault: int
) -> None:
    other = cloud.volume(size_gib=1)
    cloud.simulator.fill(other, {"pattern": "text", "start": 0, "count": 4, "seed": 2})
    estate.target("volumes", other)
    cloud.simulator.config(fail=[other])
    first = f"/backups/{create(managed, f'{estate.path}backups/', {})['id']}/"
    assert managed.get(first).json["s3_copy_status"]["progress"] is None
    drain()
    # A retry makes the run complete. AWS lets one of its two copies get nowhere, at first.
    clock.set_offset(clock._offset + timedelta(minutes=1))
    cloud.simulator.config(fail=[])
    cloud.simulator.faults([{"op": "ebs:ListSnapshotBlocks", "kind": "denied", "times": 1}])
    while percent_of(managed, first) != 50:
        assert work_on()
    began_at = Backup.objects.exclude(s3_started_at=None).get().s3_started_at or clock.now()
    clock.set_offset(clock._offset + (began_at - clock.now()) + timedelta(seconds=0.5))
    before = clock.now() - began_at
    records = managed.get("/backups/").json
    assert len(records) == 2
    copies = [copy for each in records for copy in copies_of(managed, each)]
    after = clock.now() - began_at
    for each in records:
        document.check(each, "Backup")
        told = each["s3_copy_status"]["progress"]
        assert told["percent"] == 50
        assert rate(after) <= told["mib_per_second"] <= rate(before)
        assert before.total_seconds() - 1 < told["seconds_left"] < after.total_seconds() + 1
    done, open_ = sorted(copies, key=lambda copy: -copy["progress"])
    assert (done["progress"], done["mib_per_second"], done["seconds_left"]) == (100, None, None)
    assert (open_["progress"], open_["mib_per_second"], open_["seconds_left"]) == (0, 0, None)
    document.check(open_, "ArchivedSnapshot")
    older = managed.using("1.1.0")
    for record in older.get("/backups/").json:
        assert record["s3_copy_status"].keys() == {"status", "finish_time", "repository"}
    assert not {"mib_per_second", "seconds_left"} & copies_of(older, records[0])[0].keys()
    assert "s3_copy_status" not in managed.using("1.0.0").get(first).json
    drain()
    assert managed.get(first).json["s3_copy_status"]["progress"] is None


def percent_of(caller: Caller, record: str) -> int | None:
    """How far the copies of a record are, as far as it tells."""
    told = caller.get(record).json["s3_copy_status"]["progress"]
    return told and int(told["percent"])


def copies_of(caller: Caller, record: Any) -> Any:
    """The copies in S3 of what a record has."""
    return caller.get(f"/backups/{record['id']}/snapshots/copy_to_s3/").json


def rate(elapsed: timedelta) -> int:
    """Of one volume's four blocks, in MiB a second."""
    return round(4 * 0.5 / elapsed.total_seconds())


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
