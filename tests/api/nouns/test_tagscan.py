"""Protection by tags over the API: from a tag in AWS to a target of a policy."""

from cpm.engine.settings import TagScanning
from cpm.models.audit import AuditEntry
from cpm.models.users import UserKind
from tests.api.cast import Caller, caller, make_user
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import Estate, drain

PATH = "/settings/tagscan/"


def scan(root: Caller) -> None:
    """Scan now, to the end."""
    answer = root.post(PATH, {"run": True})
    assert answer.status == 200
    assert list(answer.json) == ["enabled", "interval_hours", "last_scan_time"]
    drain()
    drain()


def test_what_is_tagged_is_protected_after_a_scan(
    estate: Estate, cloud: Cloud, root: Caller
) -> None:
    estate.caller.put(f"/accounts/backup/{estate.account}/", {"scan_tagged_resources": True})
    instance_id = cloud.instance()
    _, volume_id = cloud.volumes_of(instance_id).values()
    tags = {instance_id: "nightly#only-amis lost", volume_id: "nightly#exclude"}
    for resource_id, value in tags.items():
        cloud.ec2.create_tags(Resources=[resource_id], Tags=[{"Key": "cpm_backup", "Value": value}])
    TagScanning.change(enabled=False)
    scan(root)
    (target,) = estate.caller.get(f"{estate.path}targets/instances/").json
    assert (target["resource_id"], target["added_by"]) == (instance_id, "tag")
    assert (target["backup_option"], target["volumes_mode"]) == ("A", "E")
    volumes = f"{estate.path}targets/instances/{target['id']}/volumes/"
    (named,) = estate.caller.get(volumes).json
    assert named["volume_id"] == volume_id
    assert named["size_gib"] == 16

    shown = root.get(PATH).json
    assert shown["last_scan_time"] is not None
    messages = [line["message"] for line in root.get("/settings/tagscan/logs/").json]
    assert messages[0] == "Scan of account prod in us-east-1 started."
    assert messages[-1] == (
        "Scan of account prod in us-east-1 finished: "
        "1 targets added, 0 removed, 1 changed, 1 problems."
    )
    assert [each for each in messages if "lost" in each] == [
        f"EC2 instance {instance_id} in us-east-1 names policy lost, which account prod lacks."
    ]
    answer = root.get("/settings/tagscan/logs/", accept="text/csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="tagscan_logs.csv"'
    assert len(answer.body.decode().split("\r\n")) == len(messages) + 2
    made = AuditEntry.objects.get(event_type="create target")
    assert (made.object, made.user_name) == ("nightly", "")
    assert made.user == estate.caller.user


def test_options_that_somebody_changes_follow_the_tag_again(
    estate: Estate, cloud: Cloud, root: Caller
) -> None:
    estate.caller.put(f"/accounts/backup/{estate.account}/", {"scan_tagged_resources": True})
    instance_id = cloud.instance()
    tags = [{"Key": "cpm backup", "Value": "nightly#only-amis"}]
    cloud.ec2.create_tags(Resources=[instance_id], Tags=tags)
    scan(root)
    (target,) = estate.caller.get(f"{estate.path}targets/instances/").json
    path = f"{estate.path}targets/instances/{target['id']}/"
    changed = estate.caller.put(path, {"backup_option": "N", "script_timeout": 90}).json
    assert changed["backup_option"] == "N"
    scan(root)
    followed = estate.caller.get(path).json
    assert followed == {**changed, "backup_option": "A"}


def test_a_volume_that_a_tag_leaves_out_becomes_his_who_names_it(
    estate: Estate, cloud: Cloud, root: Caller
) -> None:
    estate.caller.put(f"/accounts/backup/{estate.account}/", {"scan_tagged_resources": True})
    instance_id = cloud.instance()
    _, volume_id = cloud.volumes_of(instance_id).values()
    target = estate.target("instances", instance_id)
    exclude = [{"Key": "cpm backup", "Value": "#exclude"}]
    cloud.ec2.create_tags(Resources=[volume_id], Tags=exclude)
    scan(root)
    volumes = f"{estate.path}targets/instances/{target['id']}/volumes/"
    assert [each["volume_id"] for each in estate.caller.get(volumes).json] == [volume_id]
    assert estate.caller.post(volumes, {"volume_id": volume_id}).status == 201
    assert estate.caller.post(volumes, {"volume_id": volume_id}).codes == {"volume_id": ["unique"]}
    cloud.ec2.delete_tags(Resources=[volume_id], Tags=[{"Key": "cpm backup"}])
    scan(root)
    assert [each["volume_id"] for each in estate.caller.get(volumes).json] == [volume_id]


def test_only_those_who_change_settings_scan(root: Caller, managed: Caller) -> None:
    reader = caller(make_user("rita", UserKind.DELEGATE, original_user=root.user))
    assert reader.get("/settings/tagscan/logs/").json == []
    assert managed.get("/settings/tagscan/logs/").status == 403
    for person in (reader, managed):
        assert person.post(PATH, {"run": True}).status == 403
    writer = make_user(
        "will", UserKind.DELEGATE, original_user=root.user, allow_settings_changes=True
    )
    assert caller(writer).post(PATH, {"run": "yes"}).status == 200
    assert AuditEntry.objects.get(event_type="run tag scan").delegate_name == "will"
