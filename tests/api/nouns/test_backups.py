"""Backups over the API: from running a policy to deleting what it made, in AWS."""

from typing import Any

from cpm.kernel import times
from cpm.models.audit import AuditEntry
from cpm.models.backups import Backup
from cpm.models.users import UserKind
from tests.api.cast import Caller, caller, make_user
from tests.api.nouns.cloud import REGION, Cloud
from tests.api.nouns.estate import Estate, create, drain


def test_a_run_protects_an_instance_and_a_volume_in_aws(estate: Estate, cloud: Cloud) -> None:
    instance_id, volume_id = cloud.instance(volumes=2), cloud.volume(Name="alone", owner="shop")
    estate.target("instances", instance_id)
    estate.target("volumes", volume_id)

    started = create(estate.caller, f"{estate.path}backups/", {})
    assert (started["status"], started["finish_time"], started["progress"]) == ("P", None, 0)
    assert started["retention"] == {"kept": True, "reason": "in_progress", "expires_after": 30}
    assert estate.caller.post(f"{estate.path}backups/").codes == {
        "non_field_errors": ["in_progress"]
    }
    assert estate.caller.delete(estate.path).status == 409
    drain()

    backup = estate.caller.get(f"/backups/{started['id']}/").json
    assert backup == {
        "id": started["id"],
        "user": estate.caller.id,
        "account": estate.account,
        "policy": estate.policy,
        "policy_name": "nightly",
        "description": None,
        "start_time": backup["start_time"],
        "finish_time": backup["finish_time"],
        "status": "B",
        "dr_status": {"status": "N", "finish_time": None},
        "s3_copy_status": {
            "status": "N",
            "finish_time": None,
            "repository": None,
            "progress": None,
        },
        "is_frozen": False,
        "is_retry": False,
        "trigger": "M",
        "scheduled_time": None,
        "progress": 100,
        "retention": {"kept": True, "reason": "generation", "expires_after": 30},
    }
    assert backup["start_time"] <= backup["finish_time"] <= times.to_wire(times.LATEST)
    policy = estate.caller.get(estate.path).json
    assert policy["last_backup"] == {
        "id": backup["id"],
        "status": "B",
        "start_time": backup["start_time"],
    }

    made = cloud.snapshots()
    assert len(made) == 3
    snapshots = estate.caller.get(f"/backups/{backup['id']}/snapshots/").json
    assert {each["snapshot_id"] for each in snapshots} == set(made)
    for snapshot in snapshots:
        in_aws = made[snapshot["snapshot_id"]]
        tags = {tag["Key"]: tag["Value"] for tag in in_aws["Tags"]}
        assert tags["cpm_policy_name"] == "nightly"
        assert tags["cpm_backup_id"] == str(backup["id"])
        assert snapshot["resource_id"] == in_aws["VolumeId"]
        assert snapshot["size_gib"] == in_aws["VolumeSize"]


def test_snapshots_are_shown_by_kind(estate: Estate, cloud: Cloud) -> None:
    instance_id, volume_id = cloud.instance(volumes=2), cloud.volume(Name="alone")
    estate.target("instances", instance_id)
    estate.target("volumes", volume_id)
    backup = estate.run()
    path = f"/backups/{backup['id']}/snapshots/"
    alone = estate.caller.get(f"{path}volumes/?resource={volume_id}").json[0]
    assert alone == {
        "id": alone["id"],
        "backup": backup["id"],
        "snapshot_id": alone["snapshot_id"],
        "status": "S",
        "region": REGION,
        "account": estate.account,
        "resource_id": volume_id,
        "resource_name": "alone",
        "start_time": alone["start_time"],
        "finish_time": alone["finish_time"],
        "deleted_time": None,
        "size_gib": 10,
        "encrypted": False,
        "progress": 100,
        "error": None,
        "volume_device": None,
        "instance_id": None,
    }
    assert alone["finish_time"] is not None
    assert estate.caller.get(f"{path}volumes/{alone['id']}/").json == alone
    together = estate.caller.get(path).json
    assert alone | {"snapshot_type": "volumes"} in together
    of_instance = [each for each in together if each["instance_id"] == instance_id]
    assert sorted(each["volume_device"] for each in of_instance) == sorted(
        cloud.volumes_of(instance_id)
    )
    (instance,) = estate.caller.get(f"{path}instances/").json
    assert instance == {
        "id": instance["id"],
        "backup": backup["id"],
        "instance_id": instance_id,
        "resource_name": "server-00001",
        "region": REGION,
        "account": estate.account,
        "backup_option": "S",
        "image_id": None,
        "volumes": [each["id"] for each in of_instance],
        "status": "S",
        "start_time": of_instance[0]["start_time"],
        "finish_time": max(each["finish_time"] for each in of_instance),
    }
    assert estate.caller.get(f"{path}instances/{instance['id']}/").json == instance


def test_snapshots_are_filtered_and_searched(estate: Estate, cloud: Cloud) -> None:
    first, second = cloud.volume(Name="first"), cloud.volume(Name="second")
    estate.target("volumes", first)
    estate.target("volumes", second)
    path = f"/backups/{estate.run()['id']}/snapshots/"

    def found(query: str) -> list[str]:
        return [each["resource_id"] for each in estate.caller.get(f"{path}?{query}").json]

    assert found(f"resource={first}") == [first]
    assert found("status=s&snapshot_type=volumes") == [first, second]
    assert found("region=1") == []
    assert found("search=SECOND") == [second]
    assert found("ordering=-resource_id") == sorted([first, second], reverse=True)
    assert estate.caller.get(f"{path}?status=x&snapshot_type=y").codes == {
        "status": ["invalid_choice"],
        "snapshot_type": ["invalid_choice"],
    }


def test_a_policy_without_targets_cannot_run(estate: Estate) -> None:
    answer = estate.caller.post(f"{estate.path}backups/")
    assert (answer.status, answer.codes) == (400, {"non_field_errors": ["invalid"]})


def test_older_versions_do_not_see_what_came_later(estate: Estate, cloud: Cloud) -> None:
    estate.target("volumes", cloud.volume())
    estate.run()
    (latest,) = estate.caller.get("/backups/").json
    (middle,) = estate.caller.using("1.1.0").get("/backups/").json
    (first,) = estate.caller.using("1.0.0").get("/backups/").json
    assert latest.keys() - middle.keys() == {"progress", "retention"}
    assert middle.keys() - first.keys() == {"s3_copy_status"}
    assert estate.caller.using("1.0.0").get(f"/backups/{latest['id']}/").status == 404


def test_logs_tell_what_happened(estate: Estate, cloud: Cloud) -> None:
    estate.target("volumes", cloud.volume())
    backup = estate.run()
    lines = estate.caller.get(f"/backups/{backup['id']}/logs/").json
    assert [list(line) for line in lines] == [["id", "time", "severity", "message"]] * len(lines)
    assert lines[0]["message"] == "Backup of policy nightly started."
    assert lines[-1]["message"] == "Backup successful: 1 snapshots."
    assert {line["severity"] for line in lines} == {"I"}


def test_logs_are_a_spreadsheet_as_well(estate: Estate, cloud: Cloud) -> None:
    estate.target("volumes", cloud.volume())
    backup = estate.run()
    path = f"/backups/{backup['id']}/logs/"
    answer = estate.caller.get(f"{path}?page=7", accept="text/csv; version=1.1")
    assert answer.status == 200
    name = f"backup_{backup['id']}_logs.csv"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["Content-Length"] == str(len(answer.body))
    lines = estate.caller.get(path).json
    header, first, *rest, end = answer.body.decode().split("\r\n")
    assert header == "Time,Severity,Message"
    assert first == f"{lines[0]['time']},Info,{lines[0]['message']}"
    assert (len(rest), end) == (len(lines) - 1, "")
    assert estate.caller.get("/backups/", accept="text/csv").status == 406


def test_the_freezer_keeps_a_backup_out_of_bulk_deletions(estate: Estate, cloud: Cloud) -> None:
    estate.target("volumes", cloud.volume())
    kept, other = estate.run(), estate.run()
    path = f"/backups/{kept['id']}/"
    assert estate.caller.put(path, {"name": "x"}).codes == {"non_field_errors": ["invalid"]}
    assert estate.caller.post(f"{path}to_freezer/", {"name": "with space"}).codes == {
        "name": ["invalid"]
    }
    frozen = estate.caller.post(f"{path}to_freezer/", {"name": "before-upgrade"})
    assert frozen.status == 200
    assert frozen.json == kept | {
        "name": "before-upgrade",
        "is_frozen": True,
        "retention": {"kept": True, "reason": "frozen", "expires_after": None},
    }
    assert list(frozen.json)[5] == "name"
    assert estate.caller.get("/backups/?is_frozen=true").json == [frozen.json]
    freezer = estate.caller.get("/freezer/")
    assert freezer.json == [frozen.json]
    assert freezer.headers["Deprecation"] == "@1543622400"
    assert freezer.headers["Link"] == '</api/backups/?is_frozen=true>; rel="successor-version"'
    assert "Deprecation" not in estate.caller.using("1.0.0").get("/freezer/").headers

    name = {"name": "before-upgrade"}
    assert estate.caller.post(f"/backups/{other['id']}/to_freezer/", name).codes == {
        "name": ["unique"]
    }
    renamed = estate.caller.put(path, {"name": "kept", "description": "why"}).json
    assert (renamed["name"], renamed["description"]) == ("kept", "why")

    assert estate.caller.delete(f"{estate.path}snapshots/").status == 204
    drain()
    assert estate.caller.get(f"/backups/{other['id']}/").json["status"] == "D"
    assert estate.caller.get(path).json["status"] == "B"
    (left,) = cloud.snapshots().values()
    assert {"Key": "cpm_backup_id", "Value": str(kept["id"])} in left["Tags"]
    answer = estate.caller.post(f"/backups/{other['id']}/to_freezer/", {"name": "late"})
    assert answer.codes == {"non_field_errors": ["invalid"]}
    # Naming a frozen backup is how one gives it up.
    assert estate.caller.delete(f"{path}snapshots/").status == 204
    drain()
    assert estate.caller.get(path).json["status"] == "D"
    assert cloud.snapshots() == {}


def test_what_is_being_deleted_is_frozen_no_more_and_its_name_is_free_again(
    estate: Estate, cloud: Cloud
) -> None:
    estate.target("volumes", cloud.volume())
    first, second = estate.run(), estate.run()
    name = {"name": "kept"}
    assert estate.caller.post(f"/backups/{first['id']}/to_freezer/", name).status == 200
    assert estate.caller.delete(f"/backups/{first['id']}/").status == 204
    assert estate.caller.post(f"/backups/{second['id']}/to_freezer/", name).status == 200
    third = estate.run()
    assert estate.caller.delete(f"/backups/{third['id']}/snapshots/").status == 204
    late = estate.caller.post(f"/backups/{third['id']}/to_freezer/", {"name": "late"})
    assert late.codes == {"non_field_errors": ["invalid"]}


def test_a_dry_run_tells_what_would_go_and_deletes_nothing(estate: Estate, cloud: Cloud) -> None:
    estate.target("volumes", cloud.volume())
    frozen, other = estate.run(), estate.run()
    create_path = f"/backups/{frozen['id']}/to_freezer/"
    assert estate.caller.post(create_path, {"name": "kept"}).status == 200
    (kept,) = estate.caller.get(f"/backups/{frozen['id']}/snapshots/").json
    (going,) = estate.caller.get(f"/backups/{other['id']}/snapshots/").json

    def shown(snapshot: Any, kept_because: str | None = None) -> dict[str, object]:
        keys = ("snapshot_id", "snapshot_type", "region", "account")
        return {key: snapshot[key] for key in keys} | {"kept_because": kept_because}

    everything = [shown(kept, "its backup is frozen"), shown(going)]
    account = f"/accounts/backup/{estate.account}/snapshots/"
    for path, expected in (
        (f"{estate.path}snapshots/", everything),
        (account, everything),
        (f"/backups/{frozen['id']}/", [shown(kept)]),
        (f"/backups/{other['id']}/snapshots/", [shown(going)]),
        (f"/backups/{other['id']}/snapshots/volumes/{going['id']}/", [shown(going)]),
    ):
        answer = estate.caller.using("1.1.0").delete(f"{path}?dry_run=true")
        assert (answer.status, answer.json) == (200, expected)
        assert estate.caller.delete(f"{path}?dry_run=perhaps").codes == {"dry_run": ["invalid"]}
    drain()
    assert len(cloud.snapshots()) == 2
    assert estate.caller.get("/backups/?status=B").json[1] == other


def test_deleting_a_backup_hides_it_at_once_and_empties_aws(estate: Estate, cloud: Cloud) -> None:
    estate.target("instances", cloud.instance())
    backup = estate.run()
    path = f"/backups/{backup['id']}/"
    assert estate.caller.delete(path).status == 204
    assert estate.caller.get("/backups/").json == []
    for hidden in (path, f"{path}logs/", f"{path}snapshots/", f"{path}snapshots/volumes/"):
        assert estate.caller.get(hidden).status == 404
    assert estate.caller.get(estate.path).json["last_backup"] is None
    assert len(cloud.snapshots()) == 2
    drain()
    assert cloud.snapshots() == {}
    assert not Backup.objects.exists()


def test_deleting_the_snapshots_of_an_account_spares_what_is_frozen(
    estate: Estate, cloud: Cloud
) -> None:
    estate.target("volumes", cloud.volume())
    frozen, other = estate.run(), estate.run()
    estate.caller.post(f"/backups/{frozen['id']}/to_freezer/", {"name": "kept"})
    assert estate.caller.delete(f"/accounts/backup/{estate.account}/snapshots/").status == 204
    drain()
    assert estate.caller.get(f"/backups/{other['id']}/").json["status"] == "D"
    assert len(cloud.snapshots()) == 1


def test_one_snapshot_is_deleted_in_aws_first(estate: Estate, cloud: Cloud) -> None:
    estate.target("instances", cloud.instance())
    backup = estate.run()
    path = f"/backups/{backup['id']}/snapshots/volumes/"
    first, second = estate.caller.get(path).json
    cloud.simulator.faults([{"op": "ec2:DeleteSnapshot", "kind": "denied"}])
    refused = estate.caller.delete(f"{path}{first['id']}/")
    assert (refused.status, refused.codes) == (400, {"non_field_errors": ["aws_error"]})
    assert estate.caller.get(f"{path}{first['id']}/").json == first
    cloud.simulator.faults([])

    tag = estate.caller.get(f"{path}{first['id']}/").headers["ETag"]
    assert estate.caller.delete(f"{path}{first['id']}/", if_match='"x"').status == 412
    assert estate.caller.delete(f"{path}{first['id']}/", if_match=tag).status == 204
    gone = estate.caller.get(f"{path}{first['id']}/").json
    assert gone["status"] == "D"
    assert gone["deleted_time"] is not None
    assert list(cloud.snapshots()) == [second["snapshot_id"]]
    assert estate.caller.delete(f"{path}{first['id']}/").status == 204
    noted = AuditEntry.objects.filter(object=first["snapshot_id"]).order_by("pk")
    asked = "delete snapshot"
    assert [row.event_type for row in noted] == [asked, "snapshot not deleted", asked]

    # Somebody else was faster: that is success as well.
    cloud.ec2.delete_snapshot(SnapshotId=second["snapshot_id"])
    assert estate.caller.delete(f"{path}{second['id']}/").status == 204
    assert estate.caller.get(f"/backups/{backup['id']}/").json["status"] == "D"
    assert (
        estate.caller.get(f"/backups/{backup['id']}/snapshots/instances/").json[0]["status"] == "D"
    )


def test_nothing_is_deleted_while_its_backup_is_under_way(estate: Estate, cloud: Cloud) -> None:
    estate.target("volumes", cloud.volume())
    backup = create(estate.caller, f"{estate.path}backups/", {})
    path = f"/backups/{backup['id']}/"
    for one in (path, f"{path}snapshots/"):
        answer = estate.caller.delete(one)
        assert (answer.status, answer.codes) == (409, {"non_field_errors": ["in_progress"]})
    assert estate.caller.delete(f"{estate.path}snapshots/").status == 204
    drain()
    assert len(cloud.snapshots()) == 1


def test_a_deleted_policy_leaves_its_name_behind(estate: Estate, cloud: Cloud) -> None:
    estate.target("volumes", cloud.volume())
    backup = estate.run()
    assert estate.caller.delete(estate.path).status == 204
    left = estate.caller.get(f"/backups/{backup['id']}/").json
    assert (left["policy"], left["policy_name"]) == (None, "nightly")
    assert left["retention"] == {"kept": True, "reason": "no_policy", "expires_after": None}
    assert estate.caller.delete(f"/accounts/backup/{estate.account}/").status == 204
    assert estate.caller.get(f"/backups/{backup['id']}/").json["account"] is None
    assert len(cloud.snapshots()) == 1


def test_who_sees_a_backup_and_who_changes_it(
    estate: Estate, cloud: Cloud, root: Caller, stranger: Caller, delegate: Caller
) -> None:
    estate.target("instances", cloud.instance())
    backup = estate.run()
    path = f"/backups/{backup['id']}/"
    (snapshot, _) = estate.caller.get(f"{path}snapshots/").json
    one = f"{path}snapshots/volumes/{snapshot['id']}/"
    reads = ["/backups/", path, f"{path}logs/", f"{path}snapshots/", one]
    reads += [f"{path}snapshots/volumes/", f"{path}snapshots/instances/"]
    for read in reads:
        assert root.get(read).json == delegate.get(read).json == estate.caller.get(read).json
    assert stranger.get("/backups/").json == []
    for read in reads[1:]:
        assert stranger.get(read).status == 404
    changes = [("PUT", path), ("DELETE", path), ("DELETE", f"{path}snapshots/"), ("DELETE", one)]
    changes += [("POST", f"{path}to_freezer/"), ("POST", f"{estate.path}backups/")]
    for method, change in changes:
        assert stranger.send(method, change).status == 404
        assert delegate.send(method, change).status == 403
    keeper = caller(
        make_user(
            "kim", UserKind.DELEGATE, original_user=estate.caller.user, allow_backup_changes=True
        )
    )
    assert keeper.post(f"{path}to_freezer/", {"name": "x"}).status == 200
    assert root.delete(path).status == 204


def test_lists_cost_one_query_or_two(
    estate: Estate, cloud: Cloud, django_assert_num_queries: Any
) -> None:
    estate.target("instances", cloud.instance())
    backups = [estate.run() for _ in range(3)]
    path = f"/backups/{backups[0]['id']}/"
    for number, read in (
        (1, "/backups/"),
        (2, "/backups/?page_size=2"),
        (1, path),
        (2, f"{path}snapshots/"),
        (2, f"{path}snapshots/volumes/"),
        (2, f"{path}snapshots/instances/"),
        (2, f"{path}logs/"),
    ):
        with django_assert_num_queries(number):
            assert estate.caller.get(read).status == 200


def test_backups_are_filtered_searched_and_ordered(estate: Estate, cloud: Cloud) -> None:
    target = estate.target("volumes", cloud.volume())
    good = estate.run()
    estate.caller.put(f"{estate.path}options/", {"retry_count": 0})
    cloud.ec2.delete_volume(VolumeId=target["resource_id"])
    failed = estate.run()
    assert failed["status"] == "F"
    assert failed["retention"] == {"kept": False, "reason": "no_snapshots", "expires_after": None}

    def ids(query: str) -> list[int]:
        return [each["id"] for each in estate.caller.get(f"/backups/?{query}").json]

    both = [good["id"], failed["id"]]
    assert ids("status=f") == [failed["id"]]
    assert ids("status=p") == []
    assert ids(f"policy={estate.policy}&account={estate.account}") == both
    assert ids("policy=424242") == []
    assert ids(f"from_time={failed['start_time']}&search=NIGHT") == both[-1:]
    assert ids(f"to_time={failed['start_time']}") == both[:1]
    assert ids("ordering=-status") == [failed["id"], good["id"]]
    assert ids("ordering=-start_time") == [failed["id"], good["id"]]
    assert estate.caller.get("/backups/?status=x&from_time=soon&is_frozen=maybe").codes == {
        "status": ["invalid_choice"],
        "from_time": ["invalid"],
        "is_frozen": ["invalid"],
    }
    missing = estate.caller.get(f"{estate.path}targets/").json[0]
    assert missing["status"] == "missing"
